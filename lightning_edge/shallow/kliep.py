"""The Kullback-Leibler importance estimation procedure."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.optimize import Bounds, minimize
from sklearn.model_selection import KFold
from sklearn.utils import check_random_state
from typing_extensions import override

from lightning_edge.checks import check_whole_at_least
from lightning_edge.shallow.bandwidths import bandwidths_to_try, draw_centers, gaussian_kernel
from lightning_edge.shallow.reweighting import ReweightedClassifier

_TINY = np.finfo(np.float64).tiny
_SMALLEST_MEAN = 1e-12
"""Mean value of a kernel on the source, below which it is left out."""


class KLIEP(ReweightedClassifier):
    r"""Weights of source samples that maximize the likelihood of the target samples.

    The weights :math:`w(x) = \sum_l \alpha_l k(x, c_l)` maximize :math:`\sum_j \log w(x^t_j)` for :math:`\alpha \ge 0`
    and a mean weight of 1 on the source. This minimizes the Kullback-Leibler divergence from the target to the weighted
    source (Sugiyama et al., *Direct importance estimation for covariate shift adaptation*, Ann. Inst. Stat. Math. 60,
    2008). The centers :math:`c_l` are target samples. The bandwidth of the Gaussian kernel is the one with the largest
    likelihood of target samples that were left out.

    Args:
        bandwidths: Bandwidths of the Gaussian kernel to choose from; nine multiples of the median distance if ``None``.
        n_centers: Largest number of centers.
        n_folds: Number of folds of the cross-validation that chooses the bandwidth.
        max_iter: Largest number of iterations of the solver.
        estimator: Classifier whose ``fit`` takes ``sample_weight``; a linear support vector machine if ``None``.
        random_state: Seed of the choice of the centers and of the folds.

    Attributes:
        bandwidth_: The chosen bandwidth.
        n_iter_: Number of iterations that the solver took with the chosen bandwidth.
        weights_: Weight of each source sample.
    """

    def __init__(
        self,
        bandwidths: Sequence[float] | None = None,
        n_centers: int = 100,
        n_folds: int = 5,
        max_iter: int = 1000,
        estimator: Any = None,
        random_state: Any = 0,
    ) -> None:
        super().__init__(estimator)
        self.bandwidths = bandwidths
        self.n_centers = n_centers
        self.n_folds = n_folds
        self.max_iter = max_iter
        self.random_state = random_state

    @override
    def _importances(
        self, Xs: Float[np.ndarray, "source features"], Xt: Float[np.ndarray, "target features"]
    ) -> Float[np.ndarray, " source"]:
        check_whole_at_least(2, n_folds=self.n_folds)
        check_whole_at_least(1, max_iter=self.max_iter)
        random_state = check_random_state(self.random_state)
        folds = KFold(min(self.n_folds, len(Xt)), shuffle=True, random_state=random_state)
        # a sample that is left out must not be a center either, which would favor narrow kernels
        splits = [
            (Xt[kept], Xt[left_out], draw_centers(Xt[kept], self.n_centers, random_state))
            for kept, left_out in folds.split(Xt)
        ]
        bandwidths = bandwidths_to_try(self.bandwidths, Xs, Xt)
        self.bandwidth_ = max(bandwidths, key=lambda bandwidth: self._left_out_likelihood(Xs, splits, bandwidth))
        centers = draw_centers(Xt, self.n_centers, random_state)
        on_source = gaussian_kernel(Xs, centers, self.bandwidth_)
        on_target = gaussian_kernel(Xt, centers, self.bandwidth_)
        coefficients, self.n_iter_ = fit_mixture(on_source, on_target, self.max_iter)
        return on_source @ coefficients

    def _left_out_likelihood(
        self,
        Xs: Float[np.ndarray, "source features"],
        splits: list[tuple[np.ndarray, np.ndarray, np.ndarray]],
        bandwidth: float,
    ) -> float:
        """Mean log weight of target samples that are left out, each once."""
        likelihoods = []
        for kept, left_out, centers in splits:
            on_source, on_kept, on_left_out = (gaussian_kernel(X, centers, bandwidth) for X in (Xs, kept, left_out))
            coefficients, _ = fit_mixture(on_source, on_kept, self.max_iter)
            likelihoods.append(np.log(np.maximum(on_left_out @ coefficients, _TINY)).mean())
        return float(np.mean(likelihoods))


def fit_mixture(
    on_source: Float[np.ndarray, "source centers"], on_target: Float[np.ndarray, "target centers"], max_iter: int
) -> tuple[Float[np.ndarray, " centers"], int]:
    """Coefficients of the kernels that maximize the mean log weight of the target, with mean weight 1 on the source.

    Each kernel, divided by its mean on the source, is a component of a mixture with unknown proportions. The constraint
    on their sum is replaced by subtracting the sum from the mean logarithm, which has the same maximum. What remains
    is a smooth problem with bounds. Also returns the number of iterations.

    Args:
        on_source: Values of the kernels on the source samples.
        on_target: Values of the kernels on the target samples.
        max_iter: Largest number of iterations.
    """
    means = on_source.mean(0)
    # a kernel far from all source samples would cost nothing, and has no influence on their weights
    is_near = means > _SMALLEST_MEAN
    means = np.where(is_near, means, 1)
    components = np.where(is_near, on_target / means, 0)

    def loss(proportions: Float[np.ndarray, " centers"]) -> tuple[float, Float[np.ndarray, " centers"]]:
        weights = np.maximum(components @ proportions, _TINY)
        gradient = 1 - (1 / weights) @ components / len(weights)
        return float(proportions.sum() - np.log(weights).mean()), gradient

    start = np.full(len(means), 1 / len(means))
    options = {"maxiter": max_iter, "ftol": 1e-13, "gtol": 1e-8}
    result = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=Bounds(0, np.inf), options=options)
    proportions = np.where(is_near, result.x, 0)
    return proportions / max(proportions.sum(), _TINY) / means, result.nit
