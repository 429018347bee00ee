"""The command that shows what a sweep over batch sizes is, in minutes."""

from pathlib import Path

from recipes._experiments.jobs import Backend
from recipes.batch_size_scaling.sweep import sweep

_NET = ("--model.net.model=ode_resnet4", "--model.net.model_options={}")
"""A plain residual net of 7,706 parameters."""


def example(
    folder: Path = Path("runs/batch_size_example"),
    sizes: tuple[int, ...] = (16, 32, 128, 512),
    lr_rules: tuple[str, ...] = ("fixed", "linear", "sqrt"),
    num_seeds: int = 1,
    target: float = 1.7,
    max_examples: int = 40_000,
    backend: Backend = "process",
    fit_arguments: tuple[str, ...] = (),
) -> dict[str, float]:
    """Sweep a small residual net on generated pictures, as an example.

    Args:
        folder: Where the runs lie.
        sizes: As in ``sweep``, like the arguments below.
        lr_rules: Of the learning rate, 0.0125 for a batch of 32: the best of 0.0125, 0.025, 0.05 and 0.1 there.
        num_seeds: Runs of each kind.
        target: Loss that ends a run.
        max_examples: Examples of a run that does not reach it.
        backend: ``process`` or ``ray``.
        fit_arguments: All other options, for every ``fit``.
    """
    return sweep(
        "anodev2",
        fit_arguments=(*_NET, *fit_arguments),
        folder=folder,
        sizes=sizes,
        lr_rules=lr_rules,
        num_seeds=num_seeds,
        target=target,
        max_examples=max_examples,
        base_size=32,
        base_lr=0.0125,
        warmup_examples=max_examples // 10,
        every_n_examples=max(1, max_examples // 50),
        backend=backend,
    )
