"""The command that turns the runs of a sweep into an answer."""

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from recipes._scaling_plan import PlannedRun, Sweep, read_plan
from recipes._wandb import how_to_sync

if TYPE_CHECKING:
    from lightning_edge.systems.scaling_curve import Choice, ScalingCurve, ScalingPoint
    from lightning_edge.systems.scaling_run import ScalingRun

_NUM_CONTOURS = 5


class Analysis(NamedTuple):
    """All that a sweep tells."""

    plan: Sweep
    target: float
    curves: "dict[float, dict[str, ScalingCurve]]"
    """By share of the data and rule."""
    contours: "dict[float, ScalingCurve]"
    """By target, under the rule of the choice."""
    choice: "Choice | None"
    num_examples: int
    """Examples of all runs together."""
    num_missing: int
    """Runs that have not finished yet."""

    @property
    def whole(self) -> "dict[str, ScalingCurve]":
        """Curves of the largest share of the data."""
        return self.curves[max(self.curves)]

    @property
    def at_base(self) -> "ScalingPoint | None":
        """Runs of the base's batch size under the first rule that has one, all data."""
        points = (point for curve in self.whole.values() for point in curve.points)
        return next((point for point in points if point.batch_size == self.plan.base_size), None)


def analyse(
    folder: Path = Path("runs/batch_size_scaling"),
    target: float | None = None,
    max_cost: float = 2.0,
    wandb: bool = False,
) -> dict[str, float]:
    """Tell from the runs of a sweep which batch size pays, in a table, a picture and a sentence.

    Leaves ``scaling.csv`` and ``scaling.png`` in the folder; runs that have not finished are left out.

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
    from recipes._scaling_picture import draw_analysis
    from recipes._scaling_report import print_analysis, recommend

    if max_cost < 1:
        raise ValueError(f"expected max_cost of at least 1, got {max_cost}")
    found = analysis(folder, target, max_cost)
    _write(found, folder / "scaling.csv")
    figure = draw_analysis(found)
    figure.savefig(folder / "scaling.png", dpi=120)
    print_analysis(found, folder)
    if wandb:
        _log(found, recommend(found), folder)
    return numbers(found)


def analysis(folder: Path, target: float | None = None, max_cost: float = 2.0) -> Analysis:
    """Read the runs of a sweep and set them side by side; arguments and errors as in :func:`analyse`."""
    from lightning_edge.systems.scaling_curve import choose, quartile_of_largest, scaling_curve

    plan = read_plan(folder)
    if target is not None and plan.target is not None and target < plan.target:
        raise ValueError(f"expected target of at least that at which the runs ended ({plan.target}), got {target}")
    runs = read_runs(plan, folder)
    if not runs:
        raise FileNotFoundError(f"expected finished runs of the sweep in {folder}, got none")
    of_sizes = _by_size([run for planned, run in runs.items() if planned.fraction == max(plan.fractions)])
    if target is None:
        target = quartile_of_largest(of_sizes, plan.split) if plan.target is None else plan.target
    curves = {}
    for fraction in sorted(plan.fractions):
        grouped = {rule: _of_rule(plan, runs, rule, fraction, target) for rule in plan.rules}
        curves[fraction] = {rule: scaling_curve(found, target, plan.split) for rule, found in grouped.items() if found}
    curves = {fraction: found for fraction, found in curves.items() if found}
    choice = choose(curves[max(curves)], max_cost)
    rule = choice.rule if choice else next(iter(curves[max(curves)]))
    contours = {
        level: scaling_curve(_of_rule(plan, runs, rule, max(curves), level), level, plan.split, num_resamples=0)
        for level in _levels(runs.values(), target, plan.split)
    }
    return Analysis(
        plan,
        target,
        curves,
        contours,
        choice,
        sum(run.evaluations[-1].examples for run in runs.values()),
        len(plan.runs()) - len(runs),
    )


def read_runs(plan: Sweep, folder: Path) -> "dict[PlannedRun, ScalingRun]":
    """The finished runs of a sweep."""
    from lightning_edge.systems.scaling_run import read_run

    return {run: read_run(folder / run.path) for run in plan.runs() if (folder / run.path / "done.json").exists()}


def numbers(found: Analysis) -> dict[str, float]:
    """What a caller of the command gets: critical sizes, the choice and its costs."""
    result = {"target": found.target, "num_missing": float(found.num_missing)}
    for fraction, curves in found.curves.items():
        for rule, curve in curves.items():
            name = rule if len(found.curves) == 1 else f"{rule}_of_{fraction:g}"
            result[f"{name}_critical_by_fit"] = curve.critical_by_fit.value
            result[f"{name}_critical_by_cost"] = curve.critical_by_cost.value
    if found.choice:
        result |= {"batch_size": float(found.choice.point.batch_size), "cost": found.choice.cost}
    if (at_base := found.at_base) is not None:
        result["critical_by_noise"] = at_base.critical_by_noise
    return result


def _by_size(runs: "Sequence[ScalingRun]") -> "dict[int, list[ScalingRun]]":
    grouped: dict[int, list[ScalingRun]] = {}
    for run in runs:
        grouped.setdefault(run.facts.batch_size, []).append(run)
    return grouped


def _of_rule(
    plan: Sweep, runs: "Mapping[PlannedRun, ScalingRun]", rule: str, fraction: float, target: float
) -> "dict[int, list[ScalingRun]]":
    """Runs of a rule by batch size; of several settings of a size those of the best one."""
    from lightning_edge.systems.scaling_curve import best_setting

    grouped = {}
    for size in plan.sizes:
        settings = {}
        for setting in plan.settings(rule, size):
            kinds = [PlannedRun(fraction, size, setting, seed) for seed in range(plan.num_seeds)]
            if found := [runs[kind] for kind in kinds if kind in runs]:
                settings[str(setting)] = found
        if settings:
            grouped[size] = settings[best_setting(settings, target, plan.split)]
    return grouped


def _levels(runs: "Iterable[ScalingRun]", target: float, split: str) -> list[float]:
    """Targets from the lowest one up to what most runs reach at once."""
    losses = [loss for run in runs for loss in run.columns[f"{split}_loss"][1:] if math.isfinite(loss)]
    highest = np.quantile(losses, 0.9) if losses else target
    return [float(level) for level in np.linspace(target, max(target, highest), _NUM_CONTOURS)]


_COLUMNS = (
    "fraction", "rule", "batch_size", "learning_rate", "num_runs", "num_reached", "steps", "steps_low", "steps_high",
    "examples", "speedup", "ideal_speedup", "cost", "exponent", "regime", "seconds", "examples_per_s", "linear_error",
    "critical_by_noise",
)  # fmt: skip


def _write(found: Analysis, path: Path) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(_COLUMNS)
        writer.writerows(table_rows(found))


def table_rows(found: Analysis) -> list[list[object]]:
    """Rows of ``scaling.csv``."""
    return [
        [fraction, rule, *_point_columns(point, curve)]
        for fraction, curves in found.curves.items()
        for rule, curve in curves.items()
        for point in curve.points
    ]


def _point_columns(point: "ScalingPoint", curve: "ScalingCurve") -> list[object]:
    reached = [other.batch_size for other in curve.points if math.isfinite(other.steps.value)]
    ideal = point.batch_size / reached[0] if reached else math.nan
    return [
        point.batch_size, point.learning_rate, point.num_runs, point.num_reached, *point.steps, point.examples,
        point.speedup, ideal, point.cost, point.exponent, point.regime, point.seconds, point.examples_per_s,
        point.linear_error, point.critical_by_noise,
    ]  # fmt: skip


def _log(found: Analysis, sentence: str, folder: Path) -> None:
    from lightning.pytorch.loggers import WandbLogger
    from lightning.pytorch.utilities import rank_zero_info

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
