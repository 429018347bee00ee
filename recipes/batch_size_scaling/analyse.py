"""The command that turns the runs of a sweep into an answer."""

import csv
import math
from pathlib import Path

from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_info

from lightning_edge.analysis.scaling_curve import ScalingCurve, ScalingPoint
from recipes._cli.wandb import how_to_sync
from recipes.batch_size_scaling._figure import draw_results
from recipes.batch_size_scaling._report import in_words, print_results, recommend
from recipes.batch_size_scaling._results import SweepResults, read_results


def analyse(
    folder: Path = Path("runs/batch_size_scaling"),
    target: float | None = None,
    max_cost: float = 2.0,
    wandb: bool = False,
) -> dict[str, float]:
    """Tell from the runs of a sweep which batch size pays, in a table, a picture and a sentence.

    Leaves ``scaling.csv``, ``scaling.png`` and ``scaling.txt`` in the folder; runs that have not finished are left out.

    Args:
        folder: That of the sweep.
        target: Loss to reach; that of the sweep if ``None``, and where it has none the lowest quartile of the losses
            that the largest batch went through (Golmant et al.).
        max_cost: Examples that a larger batch may take, as a multiple of the fewest.
        wandb: Log table and picture to W&B, too.

    Raises:
        FileNotFoundError: There is no sweep, or no finished run.
        ValueError: The sweep's runs end at a higher loss than ``target``.
    """
    if max_cost < 1:
        raise ValueError(f"expected max_cost of at least 1, got {max_cost}")
    found = read_results(folder, target, max_cost)
    _write(found, folder / "scaling.csv")
    (folder / "scaling.txt").write_text("\n".join(in_words(found)) + "\n")
    figure = draw_results(found)
    figure.savefig(folder / "scaling.png", dpi=120)
    print_results(found, folder)
    if wandb:
        _log(found, recommend(found), folder)
    return numbers(found)


def numbers(found: SweepResults) -> dict[str, float]:
    """What a caller of the command gets: critical sizes, the choice and its costs."""
    result = {"target": found.target, "num_missing": float(found.num_missing)}
    for fraction, curves in found.curves.items():
        for rule, curve in curves.items():
            name = rule if len(found.curves) == 1 else f"{rule}_of_{fraction:g}"
            result[f"{name}_critical_by_fit"] = curve.critical_batch_size_fit.value
            result[f"{name}_critical_by_cost"] = curve.critical_batch_size_cost.value
    if found.choice:
        result |= {"batch_size": float(found.choice.point.batch_size), "cost": found.choice.cost}
    if (at_base := found.at_base) is not None:
        result["critical_batch_size_noise"] = at_base.critical_batch_size_noise
    return result


_COLUMNS = (
    "target", "split", "fraction", "rule", "batch_size", "learning_rate", "num_runs", "num_reached", "steps",
    "steps_low", "steps_high", "examples", "speedup", "ideal_speedup", "cost", "exponent", "regime", "seconds",
    "examples_per_s", "linear_error", "critical_batch_size_noise",
)  # fmt: skip


def _write(found: SweepResults, path: Path) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(_COLUMNS)
        writer.writerows(table_rows(found))


def table_rows(found: SweepResults) -> list[list[object]]:
    """Rows of ``scaling.csv``."""
    return [
        [found.target, found.plan.split, fraction, rule, *_point_columns(point, curve)]
        for fraction, curves in found.curves.items()
        for rule, curve in curves.items()
        for point in curve.points
    ]


def _point_columns(point: ScalingPoint, curve: ScalingCurve) -> list[object]:
    reached = [other.batch_size for other in curve.points if math.isfinite(other.steps.value)]
    ideal = point.batch_size / reached[0] if reached else math.nan
    return [
        point.batch_size, point.learning_rate, point.num_runs, point.num_reached, *point.steps, point.examples,
        point.speedup, ideal, point.cost, point.exponent, point.regime, point.seconds, point.examples_per_s,
        point.linear_error, point.critical_batch_size_noise,
    ]  # fmt: skip


def _log(found: SweepResults, sentence: str, folder: Path) -> None:

    logger = WandbLogger(
        project="lightning_edge", name=f"analysis of {folder.name}", save_dir=folder, job_type="analysis"
    )
    logger.log_table("scaling/table", columns=list(_COLUMNS), data=table_rows(found))
    logger.log_image("scaling/picture", [str(folder / "scaling.png")], caption=[sentence])
    run = logger.experiment
    run.summary.update(numbers(found))
    if run.offline:
        rank_zero_info(how_to_sync(run))
    run.finish()
