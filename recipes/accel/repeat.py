"""The command that repeats Accel and Deep Feature Flow over seeds."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from callbacks.tradeoff_report import draw_curve
from lightning_edge.analysis.tradeoff import TradeoffRow, average_rows, newest_rows, write_rows
from lightning_edge.analysis.tradeoff_tables import print_gain, print_intervals
from lightning_edge.checkpoints import last_checkpoint
from recipes._cli.run_config import run_config
from recipes._experiments.seeds import seed_plans

_DEEP_FEATURE_FLOW = ("--model.net.update=null", "--model.net.direct=true")
"""Arguments of ``fit`` that train Deep Feature Flow as itself: without an update branch, through its own warp."""


def repeat(
    folder: Path = Path("runs/accel_repeat"),
    num_seeds: int = 3,
    split: Literal["val", "test"] = "test",
    overrides: tuple[str, ...] = (),
) -> dict[str, float]:
    """Fit Accel and Deep Feature Flow with several seeds and print the trade-off of all intervals, averaged.

    Both get the same data and steps. Deep Feature Flow learns as itself, through its own warp, beside the one that
    consists of Accel's reference branch and flow. A stopped repetition resumes. ``tradeoff.csv`` and ``tradeoff.png``
    in the folder hold the means.

    Args:
        folder: Where the runs lie, two folders for each seed.
        num_seeds: How many runs of each.
        split: Data on which the nets are compared; settings are chosen on ``val``.
        overrides: Further arguments of ``fit`` for all runs, such as ``["--trainer.max_epochs=3"]``.
    """
    runs = []
    for name, plan in seed_plans(num_seeds, overrides).items():
        rows = _fit_and_evaluate(plan, folder / name, split)
        rival = _fit_and_evaluate([*plan, *_DEEP_FEATURE_FLOW], folder / f"{name}_dff", split)
        runs.append(rows + [row._replace(net="trained_dff") for row in rival if row.net == "accel"])
    print_intervals(runs)
    print_gain(runs, "accel", "trained_dff")
    means = average_rows(runs)
    write_rows(means, folder / "tradeoff.csv")
    draw_curve(means).savefig(folder / "tradeoff.png", dpi=150)
    return {f"{row.net}_miou_n{row.interval}": row.miou for row in means}


def _fit_and_evaluate(plan: Sequence[str], run: Path, split: str) -> list[TradeoffRow]:

    run_config("accel", plan, run)
    if split == "test":
        plan, run = [*plan, f"--ckpt_path={last_checkpoint(run)}"], run.with_name(f"{run.name}_test")
        run_config("accel", plan, run, command="test")
    return newest_rows(run)
