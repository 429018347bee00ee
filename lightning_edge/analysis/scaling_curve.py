"""Which batch size pays: steps, speed-up and cost by batch size, from runs to a target loss.

Sources: Golmant et al., arXiv:1811.12941, for speed-up, cost and the choice of a target; Shallue et al., JMLR 20(112),
2019, for the regimes; McCandlish et al., arXiv:1812.06162, for the curve and its critical batch size.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from lightning_edge.analysis.scaling_run import LossSplit, ScalingRun
from lightning_edge.ops.batch_scaling import (
    StepsBySize,
    critical_size_of_noise,
    exponents,
    fit_steps,
    size_of_cost,
    smoothed,
)
from lightning_edge.timing import Estimate

CRITICAL_COST = 2.0
"""Examples at the critical batch size, as a multiple of the fewest."""

_LINEAR, _STAGNATING = 0.8, 0.2


class ScalingPoint(NamedTuple):
    """All runs of one batch size, learned under one rule: medians over seeds, with bootstrap intervals.

    Intervals are percentiles (2.5 and 97.5) of the bootstrap. Of few seeds they are too narrow: of three they are the
    range, which covers the true median in 75 of 100 cases, of five they do in 93 or so, and of one there is none (NaN).
    """

    batch_size: int
    learning_rate: float
    num_runs: int
    num_reached: int
    """How many reached the target; the others count as slower than all that did."""
    steps: Estimate
    """Steps to the target; infinite where half of the runs or more did not reach it."""
    least_steps: float
    """The same as ``steps``, or a lower bound of it where the target was not reached; infinite where runs diverged."""
    cost: float
    """Examples to the target, as a multiple of the fewest of any batch size."""
    speedup: float
    """Steps of the smallest batch that reached it, as a multiple of this one's."""
    exponent: float
    """By which power of the batch size steps fell from the batch before; NaN where one of the two is censored."""
    seconds: float
    """Time of training to the target."""
    examples_per_s: float
    linear_error: float
    """Error of a linear prediction of a step's effect, a difference of losses; of the last three measured."""
    critical_batch_size_noise: float
    """Critical batch size that the gradient noise scales up to the target foretell; NaN where none was measured."""

    @property
    def examples(self) -> float:
        """Examples to the target."""
        return self.batch_size * self.steps.value

    @property
    def regime(self) -> str:
        """``linear``, ``diminishing``, ``stagnating``, ``not reached`` or ``diverged``; empty if one cannot tell."""
        if not math.isfinite(self.steps.value):
            return "not reached" if math.isfinite(self.least_steps) else "diverged"
        if math.isnan(self.exponent):
            return ""
        return "linear" if self.exponent >= _LINEAR else "diminishing" if self.exponent > _STAGNATING else "stagnating"


class ScalingCurve(NamedTuple):
    """Batch sizes under one rule of the learning rate, from the smallest on."""

    points: tuple[ScalingPoint, ...]
    fit: StepsBySize | None
    """``None`` where fewer than two sizes reached the target."""
    critical_batch_size_fit: Estimate
    """Batch size whose steps and examples are twice the least, by the fitted curve; 0 below and infinite above all that
    were tried, NaN without a curve."""
    critical_batch_size_cost: Estimate
    """Batch size, above the one of the fewest examples, from which on the cost exceeds 2; infinite if none does, NaN if
    runs ended too early to tell. Where the cost is only known from below, it is the largest that this may be."""


def scaling_curve(
    runs: Mapping[int, Mapping[str, Sequence[ScalingRun]]], target: float, split: LossSplit, num_resamples: int = 400
) -> ScalingCurve:
    """Set batch sizes side by side, each at the best of its settings.

    Args:
        runs: Runs of each batch size and setting, such as a learning rate, one for each seed.
        target: Loss to reach.
        split: Whose loss.
        num_resamples: Of the bootstrap over seeds, drawn for each size and setting on its own; the best setting is
            chosen in each anew, as it would be of other seeds.

    Raises:
        ValueError: There are no runs.
    """
    sizes = sorted(size for size, settings in runs.items() if any(settings.values()))
    if not sizes:
        raise ValueError("expected runs of at least one batch size, got none")
    candidates = [{name: found for name, found in runs[size].items() if found} for size in sizes]
    best = [settings[best_setting(settings, target, split)] for settings in candidates]
    hits = [[_hits(found, target, split) for found in settings.values()] for settings in candidates]
    least = [np.median([run.least_steps(target, split) for run in found]) for found in best]
    medians = [min(map(np.median, found)) for found in hits]
    steps = _Steps(np.array(sizes, float), np.array(medians), np.maximum(least, 1))
    resampled = list(_resample(steps, hits, num_resamples)) if max(map(len, best)) > 1 else []
    points = tuple(
        ScalingPoint(
            batch_size=size,
            learning_rate=float(np.median([run.metadata.learning_rate for run in found])),
            num_runs=len(found),
            num_reached=int(np.isfinite(_hits(found, target, split)).sum()),
            steps=_estimate(
                lambda steps, index=index: steps.medians[index], steps, resampled if len(found) > 1 else []
            ),
            least_steps=steps.least[index],
            cost=steps.costs[index] if steps.reached[index] else math.inf,
            speedup=steps.speedups[index],
            exponent=steps.exponents[index],
            seconds=float(np.median([run.time_to_target(target, split, "seconds") for run in found])),
            examples_per_s=float(np.median([run.examples_per_s for run in found])),
            linear_error=_last_linear_error(found),
            critical_batch_size_noise=float(np.median([_predicted(run, target, split) for run in found])),
        )
        for index, (size, found) in enumerate(zip(sizes, best, strict=True))
    )
    by_fit, by_cost = (_estimate(find, steps, resampled) for find in (_critical_by_fit, _critical_by_cost))
    return ScalingCurve(points, steps.fit, by_fit, by_cost)


class _Steps(NamedTuple):
    """Median steps by batch size, infinite where the target was not reached."""

    sizes: np.ndarray
    medians: np.ndarray
    least: np.ndarray
    """Lower bounds where the target was not reached."""

    @property
    def reached(self) -> np.ndarray:
        return np.isfinite(self.medians)

    @property
    def bounds(self) -> np.ndarray:
        return np.where(self.reached, self.medians, self.least)

    @property
    def costs(self) -> np.ndarray:
        """Examples as a multiple of the fewest; bounds from below where the target was not reached."""
        examples = self.sizes * self.bounds
        return examples / (examples[self.reached].min() if self.reached.any() else math.nan)

    @property
    def speedups(self) -> np.ndarray:
        return (self.medians[self.reached][0] if self.reached.any() else math.nan) / self.medians

    @property
    def exponents(self) -> np.ndarray:
        """Of each size, from the one before it; NaN where one of the two was not reached."""
        are_known = [False, *(self.reached[1:] & self.reached[:-1])]
        return np.where(are_known, [math.nan, *exponents(self.sizes, self.bounds)], math.nan)

    @property
    def fit(self) -> StepsBySize | None:
        are_bounded = np.isfinite(self.bounds)  # of what diverged nothing is known
        return fit_steps(*(values[are_bounded] for values in (self.sizes, self.bounds, ~self.reached)))


def quartile_of_largest(runs: Mapping[int, Mapping[str, Sequence[ScalingRun]]], split: LossSplit) -> float:
    """The lowest quartile of the losses that the largest batch went through, a target that favors it.

    It is Golmant et al.'s choice, by our reading of it: of the smoothed losses at all evaluations, the one that a
    quarter of them does not exceed; the median over seeds, and the lowest of several settings.

    Args:
        runs: Runs by batch size and setting. Those that diverged are left out, and sizes that all did.
        split: Whose loss.

    Raises:
        ValueError: All runs diverged.
    """
    for size in sorted(runs, reverse=True):
        quartiles = [
            np.median([np.quantile(smoothed(run.columns[f"{split}_loss"], run.metadata.window), 0.25) for run in whole])
            for found in runs[size].values()
            if (whole := [run for run in found if run.metadata.outcome != "diverged"])
        ]
        if quartiles:
            return float(min(quartiles))
    raise ValueError("expected runs that do not diverge, got none: learn at a lower rate")


def best_setting(runs: Mapping[str, Sequence[ScalingRun]], target: float, split: LossSplit) -> str:
    """Name of the setting whose runs took the fewest steps to a target, by the median; else of the lowest loss."""

    def rank(name: str) -> tuple[float, float]:
        steps = np.median([run.time_to_target(target, split) for run in runs[name]])
        losses = np.array([run.columns[f"{split}_loss"][-1] for run in runs[name]])
        return float(steps), float(np.median(np.where(np.isfinite(losses), losses, np.inf)))

    return min(runs, key=rank)


class Choice(NamedTuple):
    """The batch of the fewest steps that is worth its examples."""

    rule: str
    point: ScalingPoint
    cost: float
    """Its examples as a multiple of the fewest of any rule and size."""
    next_point: ScalingPoint | None
    """The fewest steps of the next larger size, if there is one."""


def choose(curves: Mapping[str, ScalingCurve], max_cost: float = CRITICAL_COST) -> Choice | None:
    """Choose the batch and the rule of the fewest steps that cost at most so many examples.

    Args:
        curves: By rule, to the same target.
        max_cost: Examples as a multiple of the fewest that any batch under any rule took.

    Returns:
        ``None`` if no run reached the target.
    """
    points = [(rule, point) for rule, curve in curves.items() for point in curve.points]
    fewest = min((point.examples for _, point in points), default=math.inf)
    if not math.isfinite(fewest):
        return None
    worth = [(rule, point) for rule, point in points if point.examples <= max_cost * fewest]
    rule, point = min(worth, key=lambda found: (found[1].steps.value, found[1].batch_size))
    larger = [other for _, other in points if other.batch_size > point.batch_size]
    next_size = min((other.batch_size for other in larger), default=None)
    following = min(
        (other for other in larger if other.batch_size == next_size), key=lambda other: other.steps.value, default=None
    )
    return Choice(rule, point, point.examples / fewest, following)


def _hits(runs: Sequence[ScalingRun], target: float, split: LossSplit) -> np.ndarray:
    """Steps of each run to a target; one that the net begins below takes a step, for logarithms."""
    return np.array([max(1.0, run.time_to_target(target, split)) for run in runs])


def _resample(steps: _Steps, hits: Sequence[Sequence[np.ndarray]], num_resamples: int) -> Iterator[_Steps]:
    generator = np.random.default_rng(0)
    for _ in range(num_resamples):
        medians = [min(np.median(generator.choice(found, len(found))) for found in settings) for settings in hits]
        yield steps._replace(medians=np.array(medians))


def _estimate(function: Callable[[_Steps], float], steps: _Steps, resampled: Sequence[_Steps]) -> Estimate:
    # what cannot be told of a resample is as large as can be; and between two of them there may be infinity
    values = np.nan_to_num([function(one) for one in resampled], nan=math.inf, posinf=math.inf)
    low, high = np.quantile(values, (0.025, 0.975), method="nearest") if len(values) else (math.nan, math.nan)
    return Estimate(float(function(steps)), float(low), float(high))


def _critical_by_fit(steps: _Steps) -> float:
    fit = steps.fit
    if fit is None:
        return math.nan
    smallest, largest = steps.sizes[[0, -1]]
    return 0.0 if fit.critical_size < smallest else math.inf if fit.critical_size > largest else fit.critical_size


def _critical_by_cost(steps: _Steps) -> float:
    if not steps.reached.any():
        return math.nan
    cheapest = int(np.argmin(np.where(steps.reached, steps.costs, np.inf)))
    is_known = steps.reached | (steps.costs > CRITICAL_COST)  # a bound below it tells nothing
    costs = np.where(is_known, steps.costs, math.nan)
    return size_of_cost(steps.sizes[cheapest:], costs[cheapest:], CRITICAL_COST)


def _predicted(run: ScalingRun, target: float, split: LossSplit) -> float:
    # nothing is measured before the first step
    are_on_the_way = (run.columns["step"] > 0) & (run.columns["step"] <= run.time_to_target(target, split))
    scales = run.columns["noise_scale"][are_on_the_way]
    is_measured = np.isfinite(scales).any()
    return critical_size_of_noise(scales, run.metadata.batch_size) if is_measured else math.nan


def _last_linear_error(runs: Sequence[ScalingRun]) -> float:
    measured = [run.columns["linear_error"][np.isfinite(run.columns["linear_error"])] for run in runs]
    last = [np.median(errors[-3:]) for errors in measured if len(errors)]
    return float(np.median(last)) if last else math.nan
