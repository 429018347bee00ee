"""Results of a sweep: curves by rule and share of the data, and the recommended batch size."""

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np

from lightning_edge.analysis.scaling_choice import Choice, choose
from lightning_edge.analysis.scaling_curve import ScalingCurve, ScalingPoint, quartile_of_largest, scaling_curve
from lightning_edge.analysis.scaling_run import ScalingRun, read_run
from recipes._cli.run_record import metrics_of_finished
from recipes.batch_size_scaling._plan import PlannedRun, Sweep
from recipes.batch_size_scaling._plan_file import read_plan

_NUM_CONTOURS = 5


class SweepResults(NamedTuple):
    """All results of a sweep."""

    plan: Sweep
    target: float
    curves: dict[float, dict[str, ScalingCurve]]
    """Curves by share of the data and rule."""
    contours: dict[float, ScalingCurve]
    """Curves by target, with the rule of the choice."""
    choice: Choice | None
    num_runs: int
    """Number of finished runs."""
    num_examples: int
    """Number of examples of all finished runs together."""
    num_missing: int
    """Number of runs that have not finished yet."""

    @property
    def whole(self) -> dict[str, ScalingCurve]:
        """Curves for the largest share of the data."""
        return self.curves[max(self.curves)]

    @property
    def at_base(self) -> ScalingPoint | None:
        """Point at the base's batch size with the first rule that has one, for the largest share of the data."""
        points = (point for curve in self.whole.values() for point in curve.points)
        return next((point for point in points if point.batch_size == self.plan.base_size), None)


def read_results(folder: Path, target: float | None = None, max_cost: float = 2.0) -> SweepResults:
    """Read the runs of a sweep and compute its curves; arguments and errors as in ``analyze``."""
    plan = read_plan(folder)
    if target is not None and plan.target is not None and target < plan.target:
        raise ValueError(f"expected target of at least the loss at which the runs ended ({plan.target}), got {target}")
    runs = read_runs(plan, folder)
    if not runs:
        raise FileNotFoundError(f"expected finished runs of the sweep in {folder}, got none")
    if target is None:
        target = quartile_of_largest(_by_setting(plan, runs), plan.split) if plan.target is None else plan.target
    _check_target(target, runs.values(), plan.split)
    curves = {}
    for fraction in sorted(plan.fractions):
        grouped = {rule: _of_rule(plan, runs, rule, fraction) for rule in plan.lr_rules}
        curves[fraction] = {
            rule: scaling_curve(of_rule, target, plan.split) for rule, of_rule in grouped.items() if of_rule
        }
    curves = {fraction: by_rule for fraction, by_rule in curves.items() if by_rule}
    choice = choose(curves[max(curves)], max_cost)
    rule = choice.rule if choice else next(iter(curves[max(curves)]))
    contours = {
        level: scaling_curve(_of_rule(plan, runs, rule, max(curves)), level, plan.split, num_resamples=0)
        for level in _levels(runs.values(), target, plan.split)
    }
    return SweepResults(
        plan,
        target,
        curves,
        contours,
        choice,
        len(runs),
        sum(run.evaluations[-1].examples for run in runs.values()),
        len(plan.runs()) - len(runs),
    )


def read_runs(plan: Sweep, folder: Path) -> dict[PlannedRun, ScalingRun]:
    """The finished runs of a sweep."""
    finished = [run for run in plan.runs() if metrics_of_finished(folder / run.path) is not None]
    runs = {run: read_run(folder / run.path) for run in finished}
    for planned, run in runs.items():
        if run.metadata.batch_size not in (planned.size, 0):  # 0 if the first loss was not a number
            raise ValueError(
                f"expected {folder / planned.path} to have a run with batch size {planned.size}, got one with "
                f"{run.metadata.batch_size}: a sweep needs a single device"
            )
    return runs


def _by_setting(plan: Sweep, runs: Mapping[PlannedRun, ScalingRun]) -> dict[int, dict[str, list[ScalingRun]]]:
    """Runs on the largest share of the data, by batch size and setting."""
    grouped: dict[int, dict[str, list[ScalingRun]]] = {}
    for planned, run in runs.items():
        if planned.fraction == max(plan.fractions):
            grouped.setdefault(planned.size, {}).setdefault(str(planned.setting), []).append(run)
    return grouped


def _check_target(target: float, runs: Iterable[ScalingRun], split: str) -> None:
    first = median(run.columns[f"{split}_loss"][0] for run in runs)
    if target >= first:
        raise ValueError(f"expected target below the {split} loss at the start ({first:.4g}), got {target}")


def _of_rule(
    plan: Sweep, runs: Mapping[PlannedRun, ScalingRun], rule: str, fraction: float
) -> dict[int, dict[str, list[ScalingRun]]]:
    """Runs of a rule, by batch size and setting."""
    grouped = {}
    for size in plan.sizes:
        settings = {}
        for setting in plan.settings(rule, size):
            kinds = [PlannedRun(fraction, size, setting, seed) for seed in range(plan.num_seeds)]
            if finished := [runs[kind] for kind in kinds if kind in runs]:
                settings[str(setting)] = finished
        if settings:
            grouped[size] = settings
    return grouped


def _levels(runs: Iterable[ScalingRun], target: float, split: str) -> list[float]:
    """Targets from the given one up to a loss that most runs reach early."""
    losses = [loss for run in runs for loss in run.columns[f"{split}_loss"][1:] if math.isfinite(loss)]
    highest = np.quantile(losses, 0.8) if losses else target
    return [float(level) for level in np.linspace(target, max(target, highest), _NUM_CONTOURS)]
