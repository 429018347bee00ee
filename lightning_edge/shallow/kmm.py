"""Kernel mean matching."""

from typing import Any
from warnings import warn

import numpy as np
from jaxtyping import Float
from scipy.optimize import brentq
from sklearn.exceptions import ConvergenceWarning
from typing_extensions import override

from lightning_edge.checks import check_at_least, check_whole_at_least
from lightning_edge.shallow.bandwidths import gaussian_kernel, median_distance
from lightning_edge.shallow.reweighting import ReweightedClassifier


class KernelMeanMatching(ReweightedClassifier):
    r"""Weights that match the mean of the source to that of the target in the feature space of a Gaussian kernel.

    With :math:`n` source samples, minimizes :math:`\frac{1}{2} w^\top K w - \kappa^\top w` for :math:`0 \le w \le` B
    and :math:`|\sum w - n| \le n \epsilon`, where :math:`\kappa_i` is :math:`n` times the mean kernel value of source
    sample i and the target (Huang et al., *Correcting sample selection bias by unlabeled data*, NIPS 2006).

    Args:
        bandwidth: Bandwidth of the Gaussian kernel; the median distance of all samples if ``None``.
        max_weight: Largest weight of a sample, B.
        tolerance: Largest relative difference of the sum of the weights from the number of samples, :math:`\epsilon`.
            ``None`` takes :math:`(\sqrt n - 1) / \sqrt n`, as the paper does.
        max_iter: Largest number of iterations of the solver.
        tol: Change of a weight, relative to the largest weight, at which the solver stops.
        estimator: Classifier whose ``fit`` takes ``sample_weight``; a linear support vector machine if ``None``.

    Attributes:
        n_iter_: Number of iterations that the solver took.
        weights_: Weight of each source sample.
    """

    def __init__(
        self,
        bandwidth: float | None = None,
        max_weight: float = 1000.0,
        tolerance: float | None = None,
        max_iter: int = 10_000,
        tol: float = 1e-6,
        estimator: Any = None,
    ) -> None:
        super().__init__(estimator)
        self.bandwidth = bandwidth
        self.max_weight = max_weight
        self.tolerance = tolerance
        self.max_iter = max_iter
        self.tol = tol

    @override
    def _importances(
        self, Xs: Float[np.ndarray, "source features"], Xt: Float[np.ndarray, "target features"]
    ) -> Float[np.ndarray, " source"]:
        num = len(Xs)
        check_whole_at_least(1, max_iter=self.max_iter)
        check_at_least(1, max_weight=self.max_weight)  # a smaller bound contradicts the sum
        if not np.isfinite(self.max_weight):
            raise ValueError(f"expected a finite max_weight, got {self.max_weight}")
        tolerance = (np.sqrt(num) - 1) / np.sqrt(num) if self.tolerance is None else self.tolerance
        check_at_least(0, tolerance=tolerance)
        bandwidth = median_distance(Xs, Xt) if self.bandwidth is None else self.bandwidth
        kernel = gaussian_kernel(Xs, Xs, bandwidth)
        linear = num * gaussian_kernel(Xs, Xt, bandwidth).mean(1)
        sums = (num * (1 - tolerance), num * (1 + tolerance))
        weights, self.n_iter_ = minimize_quadratic(kernel, linear, self.max_weight, sums, self.max_iter, self.tol)
        return weights


def minimize_quadratic(
    matrix: Float[np.ndarray, "num num"],
    linear: Float[np.ndarray, " num"],
    upper: float,
    sums: tuple[float, float],
    max_iter: int,
    tol: float,
) -> tuple[Float[np.ndarray, " num"], int]:
    """The ``w`` that minimizes ``w @ matrix @ w / 2 - linear @ w`` under bounds of its values and of their sum.

    Also returns the number of iterations.

    This is the accelerated projected gradient method (Beck and Teboulle, SIAM J. Imaging Sciences, 2009), restarted
    when it goes uphill (O'Donoghue and Candes, arXiv:1204.3982).

    Args:
        matrix: Positive semidefinite matrix.
        linear: Coefficients of the linear part.
        upper: Largest value; the smallest one is 0.
        sums: Smallest and largest sum of the values.
        max_iter: Largest number of iterations.
        tol: Change of a value, relative to the largest one, at which the iteration ends.
    """
    step = 1 / np.linalg.norm(matrix, 2)
    weights = ahead = project(np.ones(len(matrix)), upper, sums)
    momentum = 1.0
    for iteration in range(1, max_iter + 1):
        new = project(ahead - step * (matrix @ ahead - linear), upper, sums)
        change = new - weights
        if np.abs(new - ahead).max() <= tol * np.abs(new).max():
            return new, iteration
        if (ahead - new) @ change > 0:
            momentum = 1.0
        next_momentum = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        ahead = new + (momentum - 1) / next_momentum * change
        weights, momentum = new, next_momentum
    warn(
        f"The weights changed even after max_iter ({max_iter}) iterations. Increase max_iter.",
        ConvergenceWarning,
        stacklevel=2,
    )
    return weights, max_iter


def project(values: Float[np.ndarray, " num"], upper: float, sums: tuple[float, float]) -> Float[np.ndarray, " num"]:
    """The nearest vector with values in [0, upper] whose sum is within ``sums``."""
    clipped = np.clip(values, 0, upper)
    total = clipped.sum()
    if sums[0] <= total <= sums[1]:
        return clipped
    wanted = sums[0] if total < sums[0] else min(sums[1], upper * len(values))
    low, high = values.min() - upper, values.max()  # all values are then at the upper, and at the lower bound
    shift = brentq(lambda shift: np.clip(values - shift, 0, upper).sum() - wanted, low, high, xtol=1e-14)
    return np.clip(values - shift, 0, upper)
