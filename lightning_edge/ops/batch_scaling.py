"""Number of steps that a training needs to reach a loss, as a function of its batch size.

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

    Each loss is first replaced by the median of the ``window`` evaluations around it. So a single low outlier does not
    count, and a monotonic curve is unchanged. The result is interpolated linearly. The last ``window // 2`` evaluations
    only confirm the ones before them.

    Args:
        positions: Steps, examples or seconds of the evaluations, in ascending order.
        losses: Loss at each evaluation. A loss that is not finite never reaches the target.
        target: Loss to reach.
        window: Number of evaluations of the median. It must be odd; near the start the median uses fewer.
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
    """Median of the ``window`` losses around each, of fewer at both ends. Losses that are not finite are infinite."""
    finite = np.where(np.isfinite(losses), losses, np.inf)
    last = len(finite) - 1
    reach = [min(window // 2, index, last - index) for index in range(len(finite))]
    return np.array([np.median(finite[index - n : index + n + 1]) for index, n in enumerate(reach)])


class StepsBySize(NamedTuple):
    """Curve ``steps = min_steps * (1 + critical_size / size)``, which is ``(S/min_S - 1) (E/min_E - 1) = 1``."""

    min_steps: float
    """Least number of steps, which is approached with large batches."""
    min_examples: float
    """Least number of examples, which is approached with small batches."""

    @property
    def critical_size(self) -> float:
        """Batch size that needs twice ``min_steps`` and twice ``min_examples``."""
        return self.min_examples / self.min_steps

    def steps(self, sizes: Float[np.ndarray, " sizes"]) -> Float[np.ndarray, " sizes"]:
        """Steps at other batch sizes."""
        return self.min_steps + self.min_examples / sizes


def fit_steps(
    sizes: Float[np.ndarray, " runs"], steps: Float[np.ndarray, " runs"], is_censored: Bool[np.ndarray, " runs"]
) -> StepsBySize | None:
    """Fit the curve to measured steps by least squares of the logarithms.

    Args:
        sizes: Batch size of each run.
        steps: Steps of each run to the target. For a censored run, its total number of steps, which the curve should
            not fall below.
        is_censored: Whether each run did not reach the target.

    Returns:
        The fitted curve, or ``None`` if runs of fewer than two batch sizes reached the target.
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
    """Batch size from which the cost stays above a limit, interpolated linearly between measurements in logarithms.

    Args:
        sizes: Batch sizes in ascending order.
        costs: Number of examples to the target as a multiple of the smallest one. Infinite if the target cannot be
            reached; NaN if it is unknown whether the cost exceeds the limit.
        limit: Limit of the cost, above 1.

    Returns:
        The batch size. It is infinity if the largest batch size does not exceed the limit, the smallest batch size if
        all exceed it, and NaN if this is unknown.
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
    """Exponent by which steps fall with the batch size from each size to the next: 1 is ideal, 0 is no gain."""
    return -np.diff(np.log(steps)) / np.diff(np.log(sizes))


def critical_size_of_noise(scales: Float[np.ndarray, " measurements"], size: int) -> float:
    """Critical batch size that is predicted from the gradient noise scales along one training.

    At a noise scale ``b``, a step of batch size ``m`` makes ``1 / (1 + b / m)`` of the progress of a step with the true
    gradient. So the least number of steps and the least number of examples are sums over the steps of the training, and
    their quotient is the critical size (McCandlish et al., arXiv:1812.06162, sections 2.2 and 2.3). This assumes the
    optimal step size at each batch size, and the same curvature in all directions.

    Args:
        scales: Noise scales in examples, measured at even intervals until the target was reached. NaN, where noise
            hides the gradient, counts as infinite.
        size: Batch size of the training.
    """
    progress = 1 / (1 + np.where(np.isfinite(scales), scales, np.inf) / size)
    return float(size * (1 - progress).sum() / progress.sum()) if progress.sum() > 0 else float("nan")
