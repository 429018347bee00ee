"""The command that evaluates the runs of a sweep."""

import math
from pathlib import Path

from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_info

from lightning_edge.analysis.scaling_curve import ScalingCurve, ScalingPoint
from lightning_edge.atomic_files import replace_file, replace_table
from lightning_edge.checks import check_at_least
from recipes._cli.wandb import how_to_sync
from recipes.batch_size_scaling._figure import draw_results
from recipes.batch_size_scaling._report import in_words, print_results, recommend
from recipes.batch_size_scaling._results import SweepResults, read_results


def analyze(
    folder: Path = Path("runs/batch_size_scaling"),
    target: float | None = None,
    max_cost: float = 2.0,
    wandb: bool = False,
) -> dict[str, float]:
    """Recommend a batch size from the runs of a sweep, with a table, a figure and a sentence.

    Writes ``scaling.csv``, ``scaling.png`` and ``scaling.txt`` to the folder. Unfinished runs are left out.

    Args:
        folder: Folder of the sweep.
        target: Loss to reach. ``None`` takes that of the sweep. If the sweep has none, the target is the lowest
            quartile of the losses during training with the largest batch (Golmant et al.).
        max_cost: Largest number of examples that a larger batch may take, as a multiple of the fewest.
        wandb: Whether to log the table and the figure to W&B too.

    Raises:
        FileNotFoundError: There is no sweep, or no finished run.
        ValueError: The sweep's runs end at a higher loss than ``target``.
    """
    check_at_least(1, max_cost=max_cost)
    results = read_results(folder, target, max_cost)
    replace_table(folder / "scaling.csv", _COLUMNS, table_rows(results))
    replace_file(folder / "scaling.txt", ("\n".join(in_words(results)) + "\n").encode())
    figure = draw_results(results)
    figure.savefig(folder / "scaling.png", dpi=120)
    print_results(results, folder)
    if wandb:
        _log(results, recommend(results), folder)
    return numbers(results)


def numbers(results: SweepResults) -> dict[str, float]:
    """The return value of the command: critical batch sizes, the recommended batch size and its cost."""
    result = {"target": results.target, "num_missing": float(results.num_missing)}
    for fraction, curves in results.curves.items():
        for rule, curve in curves.items():
            name = rule if len(results.curves) == 1 else f"{rule}_of_{fraction:g}"
            result[f"{name}_critical_by_fit"] = curve.critical_batch_size_fit.value
            result[f"{name}_critical_by_cost"] = curve.critical_batch_size_cost.value
    if results.choice:
        result |= {"batch_size": float(results.choice.point.batch_size), "cost": results.choice.cost}
    if (at_base := results.at_base) is not None:
        result["critical_batch_size_noise"] = at_base.critical_batch_size_noise
    return result


_COLUMNS = (
    "target", "split", "fraction", "rule", "batch_size", "learning_rate", "num_runs", "num_reached", "steps",
    "steps_low", "steps_high", "examples", "speedup", "ideal_speedup", "cost", "exponent", "regime", "seconds",
    "examples_per_s", "linear_error", "critical_batch_size_noise",
)  # fmt: skip


def table_rows(results: SweepResults) -> list[list[object]]:
    """Rows of ``scaling.csv``."""
    return [
        [results.target, results.plan.split, fraction, rule, *_point_columns(point, curve)]
        for fraction, curves in results.curves.items()
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


def _log(results: SweepResults, sentence: str, folder: Path) -> None:
    logger = WandbLogger(
        project="lightning_edge", name=f"analysis of {folder.name}", save_dir=folder, job_type="analysis"
    )
    logger.log_table("scaling/table", columns=list(_COLUMNS), data=table_rows(results))
    logger.log_image("scaling/picture", [str(folder / "scaling.png")], caption=[sentence])
    run = logger.experiment
    run.summary.update(numbers(results))
    if run.offline:
        rank_zero_info(how_to_sync(run))
    run.finish()
