"""The command that trains Accel and Deep Feature Flow with several seeds."""

from pathlib import Path
from typing import Literal

from callbacks.tradeoff_report import draw_curve
from lightning_edge.analysis.tradeoff import TradeoffRow, average_rows, newest_rows, write_rows
from lightning_edge.analysis.tradeoff_tables import print_gain, print_intervals
from recipes._experiments.jobs import Backend
from recipes._experiments.study import Study, Variant, evaluation_name, with_evaluations

VARIANTS = {
    "accel": Variant(),
    # Deep Feature Flow as published: no update branch, and a direct warp from the key frame
    "dff": Variant(("--model.net.update=null", "--model.net.direct=true")),
}


def repeat(
    folder: Path = Path("runs/accel_repeat"),
    num_seeds: int = 3,
    split: Literal["val", "test"] = "test",
    backend: Backend = "process",
    fit_arguments: tuple[str, ...] = (),
) -> dict[str, float]:
    """Train Accel and Deep Feature Flow with several seeds, and print the mean trade-off at all intervals.

    Both get the same data and number of steps. Deep Feature Flow is trained as a method of its own, with its own warp.
    The table also has the one that consists of Accel's reference branch and flow. A stopped repetition continues when
    it is started again. ``tradeoff.csv`` and ``tradeoff.png`` in the folder have the means.

    Args:
        folder: Folder of the runs, with a subfolder for each seed.
        num_seeds: Number of runs of each method.
        split: Data on which the nets are compared. Settings are chosen on ``val``.
        backend: ``process`` runs the trainings one after the other, ``ray`` in parallel.
        fit_arguments: All other options, for every ``fit``, such as ``-c long.yaml --trainer.max_epochs=3``.
    """
    study = Study("accel", with_evaluations(VARIANTS, split), folder, num_seeds, fit_arguments, backend)
    study.run()
    runs = [_rows(study, split, seed) for seed in range(num_seeds)]
    print_intervals(runs)
    print_gain(runs, "accel", "trained_dff")
    means = average_rows(runs)
    write_rows(means, folder / "tradeoff.csv")
    draw_curve(means).savefig(folder / "tradeoff.png", dpi=150)
    return {f"{row.net}_miou_n{row.interval}": row.miou for row in means}


def _rows(study: Study, split: str, seed: int) -> list[TradeoffRow]:
    """Rows of a seed: those of Accel, and those of the Deep Feature Flow that was trained as a method of its own."""
    rows, of_dff = (newest_rows(study.folder_of(evaluation_name(name, split), seed)) for name in VARIANTS)
    return rows + [row._replace(net="trained_dff") for row in of_dff if row.net == "accel"]
