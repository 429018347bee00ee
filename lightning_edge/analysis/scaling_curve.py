"""Steps, speed-up and cost by batch size, from runs to a target loss, to find the batch size that is worth its cost.

Speed-up, cost and the choice of a target follow Golmant et al., arXiv:1811.12941. The regimes follow Shallue et al.,
JMLR 20(112), 2019. The curve and its critical batch size follow McCandlish et al., arXiv:1812.06162.
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
"""Examples needed at the critical batch size, divided by the fewest examples at any batch size."""

_LINEAR, _STAGNATING = 0.8, 0.2
"""Exponents from which the regime is linear, and up to which it is stagnating."""


class ScalingPoint(NamedTuple):
    """Results of all runs of one batch size under one learning-rate rule: medians over seeds, with intervals.

    Intervals are percentiles (2.5 and 97.5) of a bootstrap over seeds. With few seeds they are too narrow. With three
    seeds the interval is the range, which covers the true median in 75 of 100 cases. With five seeds it covers the true
    median in about 93 of 100 cases. With one seed there is no interval (NaN).
    """

    batch_size: int
    learning_rate: float
    num_runs: int
    num_reached: int
    """Number of runs that reached the target; the others count as slower than all that reached it."""
    steps: Estimate
    """Steps to the target; infinite if half of the runs or more did not reach it."""
    least_steps: float
    """Equal to ``steps``, or a lower bound for it if the target was not reached; infinite if runs diverged."""
    cost: float
    """Examples to the target, divided by the fewest examples at any batch size."""
    speedup: float
    """Steps of the smallest batch size that reached the target, divided by the steps of this one."""
    exponent: float
    """Power of the batch size with which steps fell since the previous size; NaN if either missed the target."""
    seconds: float
    """Training time to the target, in seconds."""
    examples_per_s: float
    """Training throughput."""
    linear_error: float
    """Error of the linear prediction of the loss after a step, a difference of losses; median of the last three."""
    critical_batch_size_noise: float
    """Critical batch size predicted by the gradient noise scales up to the target; NaN if none was measured."""

    @property
    def examples(self) -> float:
        """Number of examples to the target."""
        return self.batch_size * self.steps.value

    @property
    def regime(self) -> str:
        """One of ``linear``, ``diminishing``, ``stagnating``, ``not reached`` and ``diverged``; empty if unknown."""
        if not math.isfinite(self.steps.value):
            return "not reached" if math.isfinite(self.least_steps) else "diverged"
        if math.isnan(self.exponent):
            return ""
        return "linear" if self.exponent >= _LINEAR else "diminishing" if self.exponent > _STAGNATING else "stagnating"


class ScalingCurve(NamedTuple):
    """Results of all batch sizes under one learning-rate rule, in increasing order of the batch size."""

    points: tuple[ScalingPoint, ...]
    fit: StepsBySize | None
    """Fitted curve of steps by batch size; ``None`` if fewer than two sizes reached the target."""
    critical_batch_size_fit: Estimate
    """Batch size at which steps and examples are twice their minimum, by the fitted curve. It is 0 if that is below all
    tried sizes, infinite if it is above all of them, and NaN without a curve."""
    critical_batch_size_cost: Estimate
    """Batch size, above the one with the fewest examples, from which the cost exceeds 2. It is infinite if no cost
    exceeds 2, and NaN if runs ended too early to decide. If only a lower bound of the cost is known, this is an upper
    bound."""


def scaling_curve(
    runs: Mapping[int, Mapping[str, Sequence[ScalingRun]]], target: float, split: LossSplit, num_resamples: int = 400
) -> ScalingCurve:
    """Compare batch sizes, each at its best setting.

    Args:
        runs: Runs of each batch size and setting, such as a learning rate, with one run for each seed.
        target: Loss to reach.
        split: Split whose loss has the target.
        num_resamples: Number of resamples of the bootstrap over seeds. Each resample draws seeds independently for each
            size and setting, and selects the best setting again, as with other seeds.

    Raises:
        ValueError: There are no runs.
    """
    sizes = sorted(size for size, settings in runs.items() if any(settings.values()))
    if not sizes:
        raise ValueError("expected runs of at least one batch size, got none")
    candidates = [{name: group for name, group in runs[size].items() if group} for size in sizes]
    best = [settings[best_setting(settings, target, split)] for settings in candidates]
    hits = [[_hits(group, target, split) for group in settings.values()] for settings in candidates]
    least = [np.median([run.least_steps(target, split) for run in group]) for group in best]
    medians = [min(map(np.median, steps_of_size)) for steps_of_size in hits]
    steps = _Steps(np.array(sizes, float), np.array(medians), np.maximum(least, 1))
    resampled = list(_resample(steps, hits, num_resamples)) if max(map(len, best)) > 1 else []
    points = tuple(
        ScalingPoint(
            batch_size=size,
            learning_rate=float(np.median([run.metadata.learning_rate for run in group])),
            num_runs=len(group),
            num_reached=int(np.isfinite(_hits(group, target, split)).sum()),
            steps=_estimate(
                lambda steps, index=index: steps.medians[index], steps, resampled if len(group) > 1 else []
            ),
            least_steps=steps.least[index],
            cost=steps.costs[index] if steps.reached[index] else math.inf,
            speedup=steps.speedups[index],
            exponent=steps.exponents[index],
            seconds=float(np.median([run.time_to_target(target, split, "seconds") for run in group])),
            examples_per_s=float(np.median([run.examples_per_s for run in group])),
            linear_error=_last_linear_error(group),
            critical_batch_size_noise=float(np.median([_predicted(run, target, split) for run in group])),
        )
        for index, (size, group) in enumerate(zip(sizes, best, strict=True))
    )
    by_fit, by_cost = (_estimate(find, steps, resampled) for find in (_critical_by_fit, _critical_by_cost))
    return ScalingCurve(points, steps.fit, by_fit, by_cost)


class _Steps(NamedTuple):
    """Median steps by batch size; infinite for sizes that did not reach the target."""

    sizes: np.ndarray
    medians: np.ndarray
    least: np.ndarray
    """Lower bounds of the steps, for sizes that did not reach the target."""

    @property
    def reached(self) -> np.ndarray:
        return np.isfinite(self.medians)

    @property
    def bounds(self) -> np.ndarray:
        return np.where(self.reached, self.medians, self.least)

    @property
    def costs(self) -> np.ndarray:
        """Examples divided by the fewest; lower bounds for sizes that did not reach the target."""
        examples = self.sizes * self.bounds
        return examples / (examples[self.reached].min() if self.reached.any() else math.nan)

    @property
    def speedups(self) -> np.ndarray:
        return (self.medians[self.reached][0] if self.reached.any() else math.nan) / self.medians

    @property
    def exponents(self) -> np.ndarray:
        """Exponent of each size relative to the one before it; NaN if either did not reach the target."""
        are_known = [False, *(self.reached[1:] & self.reached[:-1])]
        return np.where(are_known, [math.nan, *exponents(self.sizes, self.bounds)], math.nan)

    @property
    def fit(self) -> StepsBySize | None:
        are_bounded = np.isfinite(self.bounds)  # sizes that diverged have no bound
        return fit_steps(*(values[are_bounded] for values in (self.sizes, self.bounds, ~self.reached)))


def quartile_of_largest(runs: Mapping[int, Mapping[str, Sequence[ScalingRun]]], split: LossSplit) -> float:
    """Lower quartile of the losses of the largest batch size, a target that favors this size.

    This is how we understand the choice of Golmant et al. It is the lower quartile (25 %) of the smoothed losses at all
    evaluations of a run, then the median over seeds, then the minimum over settings.

    Args:
        runs: Runs by batch size and setting. Runs that diverged are skipped, and so is a size whose runs all diverged.
        split: Split whose losses are used.

    Raises:
        ValueError: All runs diverged.
    """
    for size in sorted(runs, reverse=True):
        quartiles = [
            np.median([_lower_quartile(run, split) for run in finite])
            for group in runs[size].values()
            if (finite := [run for run in group if run.metadata.outcome != "diverged"])
        ]
        if quartiles:
            return float(min(quartiles))
    raise ValueError("expected runs that do not diverge, got none. Train with a lower learning rate.")


def _lower_quartile(run: ScalingRun, split: LossSplit) -> float:
    return float(np.quantile(smoothed(run.columns[f"{split}_loss"], run.metadata.window), 0.25))


def best_setting(runs: Mapping[str, Sequence[ScalingRun]], target: float, split: LossSplit) -> str:
    """Name of the setting with the fewest median steps to a target, or with the lowest loss if none reaches it."""

    def rank(name: str) -> tuple[float, float]:
        steps = np.median([run.time_to_target(target, split) for run in runs[name]])
        losses = np.array([run.columns[f"{split}_loss"][-1] for run in runs[name]])
        return float(steps), float(np.median(np.where(np.isfinite(losses), losses, np.inf)))

    return min(runs, key=rank)


def _hits(runs: Sequence[ScalingRun], target: float, split: LossSplit) -> np.ndarray:
    """Steps of each run to a target; at least 1, so that logarithms exist if a run starts below the target."""
    return np.array([max(1.0, run.time_to_target(target, split)) for run in runs])


def _resample(steps: _Steps, hits: Sequence[Sequence[np.ndarray]], num_resamples: int) -> Iterator[_Steps]:
    generator = np.random.default_rng(0)
    for _ in range(num_resamples):
        medians = [min(np.median(generator.choice(group, len(group))) for group in settings) for settings in hits]
        yield steps._replace(medians=np.array(medians))


def _estimate(function: Callable[[_Steps], float], steps: _Steps, resampled: Sequence[_Steps]) -> Estimate:
    # an unknown value counts as infinite; "nearest" avoids interpolating between infinities
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
    is_known = steps.reached | (steps.costs > CRITICAL_COST)  # a smaller lower bound does not decide
    costs = np.where(is_known, steps.costs, math.nan)
    return size_of_cost(steps.sizes[cheapest:], costs[cheapest:], CRITICAL_COST)


def _predicted(run: ScalingRun, target: float, split: LossSplit) -> float:
    # nothing is measured before the first step
    are_before_target = (run.columns["step"] > 0) & (run.columns["step"] <= run.time_to_target(target, split))
    scales = run.columns["noise_scale"][are_before_target]
    is_measured = np.isfinite(scales).any()
    return critical_size_of_noise(scales, run.metadata.batch_size) if is_measured else math.nan


def _last_linear_error(runs: Sequence[ScalingRun]) -> float:
    measured = [run.columns["linear_error"][np.isfinite(run.columns["linear_error"])] for run in runs]
    last = [np.median(errors[-3:]) for errors in measured if len(errors)]
    return float(np.median(last)) if last else math.nan
