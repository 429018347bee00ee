"""The command that trains at many batch sizes."""

import importlib
import io
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any, Literal

import yaml

from recipes._cli.recipe_files import HOME, recipe_names
from recipes._experiments.jobs import Runner
from recipes.batch_size_scaling._check import check
from recipes.batch_size_scaling._plan import Sweep, base_of, one_of_each_kind, write_plan
from recipes.batch_size_scaling._progress import run_all
from recipes.batch_size_scaling.analyse import analyse


def sweep(
    recipe: str,
    config: str | None = None,
    overrides: tuple[str, ...] = (),
    folder: Path = Path("runs/batch_size_scaling"),
    sizes: tuple[int, ...] = (16, 32, 64, 128, 256, 512, 1024),
    rules: tuple[str, ...] = ("fixed", "linear"),
    num_seeds: int = 1,
    fractions: tuple[float, ...] = (1.0,),
    target: float | None = None,
    split: Literal["train", "val"] = "train",
    max_examples: int = 100_000,
    base_size: int | None = None,
    base_lr: float | None = None,
    tuned_lrs: tuple[float, ...] = (),
    lars_lr: float = 1.0,
    warmup_examples: int = 10_000,
    every_n_examples: int = 2_500,
    num_samples: int = 500,
    eval_batch_size: int = 100,
    window: int = 5,
    micro_batch_size: int = 256,
    on: Runner = "process",
    ray_address: str | None = None,
    wandb: bool = False,
) -> dict[str, float]:
    """Train a recipe at many batch sizes, and tell which one pays.

    Learning rates are constant, after a warm-up where a rule has one, because a schedule that follows the length of a
    training would tell its own length. A stopped sweep goes on where it was, and one with more sizes, rules, seeds or
    shares of the data uses the runs that are there. Ends with ``analyse``.

    Args:
        recipe: Name of the recipe that is trained, such as ``shift``.
        config: Its configuration, such as ``shift/cifar10.yaml``.
        overrides: Further arguments of its ``fit``, such as ``["--data.root=path/to/cifar10"]``.
        folder: Where the runs lie, each in a folder of its own.
        sizes: Examples of a step. What is larger than ``micro_batch_size`` is made by accumulation.
        rules: Learning rates of a batch ``r`` times as large as the base: ``fixed``, ``linear`` (r times, with a
            warm-up), ``sqrt``, ``lars`` (linear for LARS, in place of the recipe's optimiser), ``tuned`` (at each size
            what took the fewest steps: one of ``tuned_lrs`` or of the other rules, but for LARS).
        num_seeds: Runs of each kind.
        fractions: Shares of the training data, for data modules with ``train_fraction``.
        target: Loss that ends a run. Without one each takes all its examples, and ``analyse`` finds a target.
        split: Whose loss has the target.
        max_examples: Examples of a run that does not reach it.
        base_size: Batch size of the base; that of the configuration if ``None``.
        base_lr: Learning rate at the base, best tuned there; that of the configuration if ``None``.
        tuned_lrs: Rates that the rule ``tuned`` tries besides.
        lars_lr: Rate of LARS at the base.
        warmup_examples: Examples over which a rate rises where a rule says so.
        every_n_examples: Examples between evaluations.
        num_samples: Samples of each split that a loss is the mean of, the same in all runs on a share of the data.
        eval_batch_size: How many of them are in memory together.
        window: Evaluations whose median counts as the loss, odd.
        micro_batch_size: Examples that are in memory together; batch norm takes its statistics of as many.
        on: ``process`` runs one after the other, ``ray`` one for each core that Ray knows.
        ray_address: Of a running Ray, such as ``auto``.
        wandb: Log the analysis to W&B, too; the runs log where the recipe does.
    """
    config = config and _without_home(config)
    common = [*(("-c", config) if config else ()), *overrides]
    check_recipe(recipe)
    known_size, known_lr, weight_decay = base_of(configuration(recipe, common))
    plan = Sweep(
        recipe=recipe,
        config=config,
        overrides=tuple(overrides),
        base_size=_known("base_size", base_size, known_size, "data.batch_size"),
        base_lr=_known("base_lr", base_lr, known_lr, "model.optimizer.lr"),
        lars_lr=lars_lr,
        weight_decay=weight_decay,
        target=target,
        split=split,
        max_examples=max_examples,
        warmup_examples=warmup_examples,
        every_n_examples=every_n_examples,
        num_samples=num_samples,
        eval_batch_size=eval_batch_size,
        window=window,
        micro_batch_size=micro_batch_size,
        sizes=tuple(sizes),
        rules=tuple(rules),
        tuned_lrs=tuple(tuned_lrs),
        num_seeds=num_seeds,
        fractions=tuple(fractions),
    )
    check(plan)
    for run in one_of_each_kind(plan):  # what the recipe refuses shows before anything is written
        configuration(recipe, plan.job(run, folder).arguments)
    write_plan(plan, folder)
    with _grouped(folder.name):
        run_all(plan, folder, on, ray_address)
    return analyse(folder, wandb=wandb)


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


def _without_home(config: str) -> str:
    """A configuration beside the recipes by its name alone, which holds on other machines, too."""
    path = Path(config)
    return path.name if path.parent.parent == HOME else config
