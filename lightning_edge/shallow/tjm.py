"""Transfer joint matching."""

from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.linalg import orth
from typing_extensions import override

from lightning_edge.checks import check_whole_at_least
from lightning_edge.shallow.mean_differences import discrepancy, domain_difference
from lightning_edge.shallow.transfer_components import TransferComponents, transfer_components

_SMALLEST_NORM = 1e-8
"""Added to the norms of the coefficients of a sample, which may be 0."""


class TransferJointMatching(TransferComponents):
    r"""Transfer components of few source samples: those unlike the target lose their influence.

    Each component is a combination :math:`A` of samples. Its penalty is the discrepancy of the domains plus
    :math:`\lambda (\|A_s\|_{2,1} + \|A_t\|_F^2)`, whose first term makes whole rows of source samples small. Each
    iteration solves :math:`K H K A = (K M K + \lambda G) A \Phi`, with :math:`G_{ii} = 1 / (2 \|a_i\|)` for source
    samples and 1 for target samples, where A has the scale :math:`A^\top K H K A = I` (Long et al., *Transfer joint
    matching for unsupervised domain adaptation*, CVPR 2014). M is divided by its Frobenius norm.

    The kernel K is the linear one, for which the problem is solved in the space of the features: the penalty of a
    direction :math:`v = X^\top A` is :math:`\lambda (X^\top G^{-1} X)^{-1}` instead of :math:`\lambda I`.

    Args:
        n_components: Number of components, at most as many as there are features.
        regularization: Strength of the regularization, :math:`\lambda`.
        n_iter: Number of iterations. The first one has G = I.
        unit_length: Whether samples are scaled to length 1, both before and after the projection.
        estimator: Classifier of the components; the nearest neighbor if ``None``.

    Attributes:
        components_: Matrix whose columns are the components.
        row_norms_: Norm of the coefficients of each source sample in the last iteration, its influence.
    """

    def __init__(
        self,
        n_components: int = 20,
        regularization: float = 1.0,
        n_iter: int = 10,
        unit_length: bool = True,
        estimator: Any = None,
    ) -> None:
        super().__init__(n_components, regularization, unit_length, estimator)
        self.n_iter = n_iter

    @override
    def _align(
        self, Xs: Float[np.ndarray, "source features"], ys: np.ndarray, Xt: Float[np.ndarray, "target features"]
    ) -> None:
        check_whole_at_least(1, n_iter=self.n_iter)
        inputs = self._inputs(Xs, Xt)
        basis = orth(inputs.T)  # G would be singular in directions that no sample has
        inputs = inputs @ basis
        matrix = discrepancy(inputs, domain_difference(len(Xs), len(Xt)))
        shares = np.ones(len(inputs))  # the diagonal of the inverse of G
        directions = np.empty((inputs.shape[1], 0))
        for _ in range(self.n_iter):
            shared = np.linalg.inv((inputs.T * shares) @ inputs)
            directions = transfer_components(inputs, matrix + self.regularization * shared, self.n_components)
            coefficients = shares[: len(Xs), None] * (inputs[: len(Xs)] @ shared @ unit_variance(inputs, directions))
            self.row_norms_ = np.linalg.norm(coefficients, axis=1)
            shares[: len(Xs)] = 2 * self.row_norms_ + _SMALLEST_NORM
        self.components_ = basis @ directions


def unit_variance(
    X: Float[np.ndarray, "samples features"], directions: Float[np.ndarray, "features components"]
) -> Float[np.ndarray, "features components"]:
    """Directions scaled so that the projected samples have a sum of squares of 1 around their mean.

    Directions without variance become 0.
    """
    scales = np.linalg.norm((X - X.mean(0)) @ directions, axis=0)
    return directions / np.where(scales > 1e-9 * scales.max(), scales, np.inf)
