"""The command that trains at many batch sizes."""

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
from recipes.batch_size_scaling._plan import Sweep, base_of, one_of_each_kind, write_plan
from recipes.batch_size_scaling._progress import run_all
from recipes.batch_size_scaling.analyse import analyse


def sweep(
    recipe: str,
    folder: Path = Path("runs/batch_size_scaling"),
    backend: Backend = "process",
    ray_address: str | None = None,
    wandb: bool = False,
    fit_arguments: tuple[str, ...] = (),
    **grid: Any,
) -> dict[str, float]:
    """Train a recipe at many batch sizes, and find the one that pays.

    Learning rates are constant, after a warm-up where a rule has one, because a schedule that follows the length of a
    training would give its own length away. A stopped sweep continues, and one with more sizes, rules, seeds or shares
    of the data uses the runs that are there. Ends with ``analyse``.

    Args:
        recipe: Name of the recipe that is trained, such as ``shift``.
        folder: Where the runs lie, each in a folder of its own.
        backend: ``process`` runs one after the other, ``ray`` one for each core that Ray knows.
        ray_address: Of a running Ray, such as ``auto``.
        wandb: Log the analysis to W&B, too; the runs log where the recipe does.
        fit_arguments: All other options, for every ``fit`` of the recipe, such as ``-c cifar10.yaml``.
        grid: Options of the sweep, see ``Grid``.
    """
    plan = plan_sweep(recipe, tuple(fit_arguments), Grid(**grid))
    for run in one_of_each_kind(plan):  # what the recipe refuses shows before anything is written
        configuration(recipe, plan.job(run, folder).arguments)
    write_plan(plan, folder)
    with _grouped(folder.name):
        run_all(plan, folder, backend, ray_address)
    return analyse(folder, wandb=wandb)


def plan_sweep(recipe: str, fit_arguments: tuple[str, ...], grid: Grid) -> Sweep:
    """The runs of a sweep, with the base of the recipe's configuration where the grid has none.

    Raises:
        ValueError: There is no such recipe, no base, or a value that the sweep refuses.
    """
    check_recipe(recipe)
    size, lr, weight_decay = base_of(configuration(recipe, fit_arguments))
    base = {
        "base_size": _known("base_size", grid.base_size, size, "data.batch_size"),
        "base_lr": _known("base_lr", grid.base_lr, lr, "model.optimizer.lr"),
    }
    return Sweep(recipe=recipe, fit_arguments=fit_arguments, weight_decay=weight_decay, **(asdict(grid) | base))


def check_recipe(recipe: str) -> None:
    """Raise ``ValueError`` unless there is such a recipe; the dotted name of a module is taken as it is."""
    names = [name for name in recipe_names() if name != "batch_size_scaling"]
    if "." not in recipe and recipe not in names:
        raise ValueError(f"expected recipe among {names} or the dotted name of a module, got {recipe!r}")


def configuration(recipe: str, arguments: Sequence[str]) -> dict[str, Any]:
    """What a recipe's ``fit`` would be configured with; ends as the recipe does where it refuses the arguments."""
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
    """Have W&B show the runs under one name, unless there is one."""
    is_named = "WANDB_RUN_GROUP" in os.environ
    os.environ.setdefault("WANDB_RUN_GROUP", name)
    try:
        yield
    finally:
        if not is_named:
            del os.environ["WANDB_RUN_GROUP"]


def _known(name: str, given: Any, configured: Any, place: str) -> Any:
    value = configured if given is None else given
    if value is None:
        raise ValueError(f"expected {name}, for the recipe's configuration says none at {place}, got None")
    return value
