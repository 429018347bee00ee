"""Steps that a training needs to reach a loss, by its batch size.

Sources: Golmant et al., arXiv:1811.12941, for speed-up and cost; McCandlish et al., arXiv:1812.06162, for the curve.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy.optimize import least_squares


def first_hit(
    positions: Float[np.ndarray, " evaluations"],
    losses: Float[np.ndarray, " evaluations"],
    target: float,
    window: int = 3,
) -> float:
    """Position at which a recorded loss first reaches a target; infinity if it does not.

    Each loss is first replaced by the median of the ``window`` evaluations about it, so that a single lucky one does
    not count and a falling curve stays as it is; a line joins what is left. The last ``window // 2`` evaluations only
    confirm those before them.

    Args:
        positions: Rising steps, examples or seconds of the evaluations.
        losses: Loss at each; one that is not finite reaches nothing.
        target: Loss to reach.
        window: Evaluations of the median, odd; there are fewer at the start.
    """
    smooth = smoothed(losses, window)
    confirmed = smooth[: len(smooth) - window // 2]
    reached = np.flatnonzero((confirmed <= target) & np.isfinite(confirmed))
    if not len(reached):
        return float("inf")
    index = int(reached[0])
    if index == 0 or not np.isfinite(smooth[index - 1]):
        return float(positions[index])
    share = (smooth[index - 1] - target) / (smooth[index - 1] - smooth[index])
    return float(positions[index - 1] + share * (positions[index] - positions[index - 1]))


def smoothed(losses: Float[np.ndarray, " evaluations"], window: int) -> Float[np.ndarray, " evaluations"]:
    """Median of the ``window`` losses about each, of fewer at both ends; what is not finite counts as infinite."""
    finite = np.where(np.isfinite(losses), losses, np.inf)
    last = len(finite) - 1
    reach = [min(window // 2, index, last - index) for index in range(len(finite))]
    return np.array([np.median(finite[index - n : index + n + 1]) for index, n in enumerate(reach)])


class StepsBySize(NamedTuple):
    """Curve ``steps = min_steps * (1 + critical_size / size)``, equal to ``(S/min_S - 1) (E/min_E - 1) = 1``."""

    min_steps: float
    """Steps that no batch is large enough to save."""
    min_examples: float
    """Examples that no batch is small enough to save."""

    @property
    def critical_size(self) -> float:
        """Batch size that takes twice the least steps and twice the least examples."""
        return self.min_examples / self.min_steps

    def steps(self, sizes: Float[np.ndarray, " sizes"]) -> Float[np.ndarray, " sizes"]:
        """Steps at other batch sizes."""
        return self.min_steps + self.min_examples / sizes


def fit_steps(
    sizes: Float[np.ndarray, " runs"], steps: Float[np.ndarray, " runs"], is_censored: Bool[np.ndarray, " runs"]
) -> StepsBySize | None:
    """The curve closest to measured steps, by the squares of the logarithms' differences.

    Args:
        sizes: Batch sizes.
        steps: Steps to the target; for a censored run those it was given, which the curve must not fall below.
        is_censored: Which runs did not reach it.

    Returns:
        ``None`` if runs of fewer than two sizes reached the target.
    """
    if len(np.unique(sizes[~is_censored])) < 2:
        return None

    def differences(logarithms: Float[np.ndarray, " 2"]) -> Float[np.ndarray, " runs"]:
        difference = np.log(steps) - np.log(StepsBySize(*np.exp(logarithms)).steps(sizes))
        return np.where(is_censored, np.maximum(difference, 0), difference)

    reached = ~is_censored
    begin = np.log([steps[reached].min() / 2, (steps * sizes)[reached].min() / 2])
    return StepsBySize(*np.exp(least_squares(differences, begin).x).tolist())


def size_of_cost(sizes: Float[np.ndarray, " sizes"], costs: Float[np.ndarray, " sizes"], limit: float) -> float:
    """Batch size from which on the cost stays above a limit; a line in logarithms joins measured ones.

    Args:
        sizes: Rising batch sizes.
        costs: Examples to the target as a multiple of the fewest; infinite where it cannot be reached, NaN where one
            cannot tell whether it exceeds the limit.
        limit: The limit, above 1.

    Returns:
        Infinity if the largest does not exceed it, the smallest if all do, and NaN if one cannot tell.
    """
    within = np.flatnonzero(costs <= limit)
    first = int(within[-1]) + 1 if len(within) else 0
    if first == len(costs):
        return float("inf")
    if np.isnan(costs[first]):
        return float("nan")
    if first == 0 or np.isinf(costs[first]):
        return float(sizes[first])
    low, high = np.log(costs[first - 1 : first + 1])
    share = (np.log(limit) - low) / (high - low)
    return float(np.exp(np.log(sizes[first - 1]) + share * np.log(sizes[first] / sizes[first - 1])))


def exponents(
    sizes: Float[np.ndarray, " sizes"], steps: Float[np.ndarray, " sizes"]
) -> Float[np.ndarray, " intervals"]:
    """By which power of the batch size the steps fall from each size to the next: 1 is ideal, 0 is no gain."""
    return -np.diff(np.log(steps)) / np.diff(np.log(sizes))


def critical_size_of_noise(scales: Float[np.ndarray, " measurements"], size: int) -> float:
    """Critical batch size that the gradient noise scales along one training foretell.

    At a noise scale ``b`` a step of batch size ``m`` goes ``1 / (1 + b / m)`` as far as one of the true gradient, so a
    training's least steps and least examples are sums over its steps, whose quotient is the critical size
    (McCandlish et al., arXiv:1812.06162, sections 2.2 and 2.3). That supposes steps of the best length at each batch
    size, and curvature that is alike in all directions.

    Args:
        scales: Measured at even intervals up to the target, in examples; NaN where noise hides the gradient, which
            counts as infinite.
        size: Batch size of the training.
    """
    progress = 1 / (1 + np.where(np.isfinite(scales), scales, np.inf) / size)
    return float(size * (1 - progress).sum() / progress.sum()) if progress.sum() > 0 else float("nan")
