"""Unconstrained least-squares importance fitting."""

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
from jaxtyping import Float
from sklearn.utils import check_random_state
from typing_extensions import override

from lightning_edge.checks import check_at_least
from lightning_edge.shallow.bandwidths import bandwidths_to_try, draw_centers, gaussian_kernel
from lightning_edge.shallow.reweighting import ReweightedClassifier

REGULARIZATIONS = (1e-3, 1e-2, 1e-1, 1.0, 10.0)
"""Strengths of the regularization to choose from."""


class ULSIF(ReweightedClassifier):
    r"""Weights of source samples with the least squared error to the ratio of the densities.

    For weights :math:`w(x) = \sum_l \alpha_l k(x, c_l)` the solution is :math:`\alpha = \max(0, (H + \lambda I)^{-1}
    h)`, where H is the mean of :math:`k k^\top` over the source and h the mean of k over the target. The bandwidth and
    :math:`\lambda` have the smallest error on samples that are left out one by one, which also has a closed form
    (Kanamori, Hido and Sugiyama, *A least-squares approach to direct importance estimation*, JMLR 10, 2009).

    Args:
        bandwidths: Bandwidths of the Gaussian kernel to choose from; nine multiples of the median distance if ``None``.
        regularizations: Values of :math:`\lambda` to choose from.
        n_centers: Largest number of centers, which are target samples.
        estimator: Classifier whose ``fit`` takes ``sample_weight``; a linear support vector machine if ``None``.
        random_state: Seed of the choice of the centers.

    Attributes:
        bandwidth_: The chosen bandwidth.
        regularization_: The chosen strength of the regularization.
        weights_: Weight of each source sample.
    """

    def __init__(
        self,
        bandwidths: Sequence[float] | None = None,
        regularizations: Sequence[float] = REGULARIZATIONS,
        n_centers: int = 100,
        estimator: Any = None,
        random_state: Any = 0,
    ) -> None:
        super().__init__(estimator)
        self.bandwidths = bandwidths
        self.regularizations = regularizations
        self.n_centers = n_centers
        self.random_state = random_state

    @override
    def _importances(
        self, Xs: Float[np.ndarray, "source features"], Xt: Float[np.ndarray, "target features"]
    ) -> Float[np.ndarray, " source"]:
        for regularization in self.regularizations:
            check_at_least(1e-12, regularizations=regularization)
        random_state = check_random_state(self.random_state)
        centers = draw_centers(Xt, self.n_centers, random_state)
        # pairs of a source and a target sample are left out together, so their order matters
        Xs_mixed, Xt_mixed = (X[random_state.permutation(len(X))] for X in (Xs, Xt))
        bandwidths = bandwidths_to_try(self.bandwidths, Xs, Xt)
        kernels = {width: [gaussian_kernel(X, centers, width) for X in (Xs_mixed, Xt_mixed)] for width in bandwidths}
        choices = product(bandwidths, self.regularizations)
        self.bandwidth_, self.regularization_ = min(
            choices, key=lambda choice: left_out_error(*kernels[choice[0]], regularization=choice[1])
        )
        on_source, on_target = kernels[self.bandwidth_]
        coefficients = fit_ratio(on_source, on_target, self.regularization_)
        return gaussian_kernel(Xs, centers, self.bandwidth_) @ coefficients


def fit_ratio(
    on_source: Float[np.ndarray, "source centers"],
    on_target: Float[np.ndarray, "target centers"],
    regularization: float,
) -> Float[np.ndarray, " centers"]:
    """Coefficients of the kernels with the least regularized squared error to the ratio of the densities.

    Args:
        on_source: Values of the kernels on the source samples.
        on_target: Values of the kernels on the target samples.
        regularization: Strength of the regularization.
    """
    matrix = on_source.T @ on_source / len(on_source) + regularization * np.eye(on_source.shape[1])
    return np.maximum(np.linalg.solve(matrix, on_target.mean(0)), 0)


def left_out_error(
    on_source: Float[np.ndarray, "source centers"],
    on_target: Float[np.ndarray, "target centers"],
    regularization: float,
) -> float:
    """Mean error on pairs of a source and a target sample, each left out of the fit of :func:`fit_ratio`.

    One inversion serves all pairs, because leaving out a source sample changes the matrix by rank one (Sherman and
    Morrison). The error of a pair is half the squared weight of its source sample minus the weight of its target
    sample.

    Args:
        on_source: Values of the kernels on the source samples.
        on_target: Values of the kernels on the target samples.
        regularization: Strength of the regularization.
    """
    num_source, num_target = len(on_source), len(on_target)
    source, target = (values[: min(num_source, num_target)] for values in (on_source, on_target))
    matrix = on_source.T @ on_source / num_source
    matrix += regularization * (num_source - 1) / num_source * np.eye(len(matrix))
    sums = num_target * on_target.mean(0) - target  # over the target samples that are kept
    solved_source, solved_sums = np.linalg.solve(matrix, source.T).T, np.linalg.solve(matrix, sums.T).T
    shares = (solved_source * sums).sum(1) / (num_source - (solved_source * source).sum(1))
    scale = (num_source - 1) / (num_source * (num_target - 1))
    coefficients = np.maximum(scale * (solved_sums + solved_source * shares[:, None]), 0)
    source_weights, target_weights = ((coefficients * values).sum(1) for values in (source, target))
    return float((source_weights**2 / 2 - target_weights).mean())
