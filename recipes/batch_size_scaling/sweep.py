"""The command that trains a recipe with many batch sizes."""

import importlib
import io
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from recipes._cli.recipe_files import recipe_names
from recipes._experiments.jobs import Backend
from recipes.batch_size_scaling._grid import Grid
from recipes.batch_size_scaling._plan import Sweep, base_of, one_of_each_kind
from recipes.batch_size_scaling._plan_file import write_plan
from recipes.batch_size_scaling._progress import run_all
from recipes.batch_size_scaling.analyze import analyze


def sweep(
    recipe: str,
    folder: Path = Path("runs/batch_size_scaling"),
    backend: Backend = "process",
    ray_address: str | None = None,
    wandb: bool = False,
    fit_arguments: tuple[str, ...] = (),
    **grid: Any,
) -> dict[str, float]:
    """Train a recipe with many batch sizes, and recommend one of them.

    Learning rates are constant, after a warm-up if the rule has one. A schedule that depends on the length of the
    training would influence the number of steps that is measured. A stopped sweep continues when it is started again,
    and one with more sizes, rules, seeds or shares of the data reuses the existing runs. At the end, ``analyze`` runs.

    Args:
        recipe: Name of the recipe to train, such as ``shift``.
        folder: Folder of the runs, each of which has a subfolder.
        backend: ``process`` runs the trainings one after the other, ``ray`` runs one for each core that Ray knows.
        ray_address: Address of a running Ray cluster, such as ``auto``.
        wandb: Whether to log the analysis to W&B too. The runs use the loggers of the recipe.
        fit_arguments: All other options, for every ``fit`` of the recipe, such as ``-c cifar10.yaml``.
        grid: Options of the sweep, see ``Grid``.
    """
    plan = plan_sweep(recipe, tuple(fit_arguments), Grid(**grid))
    for run in one_of_each_kind(plan):  # errors in the arguments appear before anything is written
        configuration(recipe, plan.job(run, folder).arguments)
    write_plan(plan, folder)
    with _grouped(folder.name):
        run_all(plan, folder, backend, ray_address)
    return analyze(folder, wandb=wandb)


def plan_sweep(recipe: str, fit_arguments: tuple[str, ...], grid: Grid) -> Sweep:
    """The runs of a sweep. If the grid has no base, that of the recipe's configuration is used.

    Raises:
        ValueError: The recipe is unknown, there is no base, or a value is invalid.
    """
    check_recipe(recipe)
    size, lr, weight_decay = base_of(configuration(recipe, fit_arguments))
    base = {
        "base_size": _known("base_size", grid.base_size, size, "data.batch_size"),
        "base_lr": _known("base_lr", grid.base_lr, lr, "model.optimizer.lr"),
    }
    return Sweep(recipe=recipe, fit_arguments=fit_arguments, weight_decay=weight_decay, **(asdict(grid) | base))


def check_recipe(recipe: str) -> None:
    """Raise ``ValueError`` if the recipe is unknown. The dotted name of a module is always accepted."""
    names = [name for name in recipe_names() if name != "batch_size_scaling"]
    if "." not in recipe and recipe not in names:
        raise ValueError(f"expected recipe among {names} or the dotted name of a module, got {recipe!r}")


def configuration(recipe: str, arguments: Sequence[str]) -> dict[str, Any]:
    """The configuration of a recipe's ``fit``. Invalid arguments end the process, as they do in the recipe."""
    main = importlib.import_module(recipe if "." in recipe else f"recipes.{recipe}").main
    text = io.StringIO()
    try:
        with redirect_stdout(text):
            main(["fit", *arguments, "--print_config"])
    except SystemExit as stop:
        if stop.code:
            raise
    return yaml.safe_load(text.getvalue()) or {}


@contextmanager
def _grouped(name: str) -> Iterator[None]:
    """Set the group of the runs in W&B, unless the environment already does."""
    is_named = "WANDB_RUN_GROUP" in os.environ
    os.environ.setdefault("WANDB_RUN_GROUP", name)
    try:
        yield
    finally:
        if not is_named:
            del os.environ["WANDB_RUN_GROUP"]


def _known(name: str, value: Any, configured: Any, place: str) -> Any:
    value = configured if value is None else value
    if value is None:
        raise ValueError(f"expected {name}, because the recipe's configuration has no {place}, got None")
    return value
