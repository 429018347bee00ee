"""The command that runs a small example sweep in minutes."""

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
    """Run an example sweep with a small residual net on generated images.

    Args:
        folder: Folder of the runs.
        sizes: Batch sizes, in examples per step.
        lr_rules: Rules for the learning rate, see ``sweep``. It is 0.0125 for a batch of 32, the best of 0.0125, 0.025,
            0.05 and 0.1 at that size.
        num_seeds: Number of runs with each setting.
        target: Loss that ends a run.
        max_examples: Length of a run that does not reach the target, in examples.
        backend: ``process`` runs the trainings one after the other, ``ray`` in parallel.
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
