"""Transfer component analysis."""

import numpy as np
from jaxtyping import Float
from typing_extensions import override

from lightning_edge.shallow.kernel_components import KernelComponents
from lightning_edge.shallow.mean_differences import domain_difference
from lightning_edge.shallow.transfer_components import regularized_components


class TransferComponentAnalysis(KernelComponents):
    r"""Components with a large variance and a small difference between the means of the domains.

    Solves :math:`X^\top H X v = \mu (X^\top M X + \lambda I) v` for the largest :math:`\mu`, where X are the samples of
    both domains (or their kernel values), H centers them, and M is the maximum mean discrepancy divided by its
    Frobenius norm (Pan et al., *Domain adaptation via transfer component analysis*, IEEE Trans. Neural Networks, 2011).
    The division and the unit lengths come from the code of Long et al. (see
    :class:`~lightning_edge.shallow.jda.JointDistributionAdaptation`), with which the published figures were measured.

    Args:
        n_components: Number of components, at most as many as there are features (or samples, with a kernel).
        regularization: Strength of the regularization, :math:`\lambda`.
        kernel: Kernel of :func:`sklearn.metrics.pairwise.pairwise_kernels`, such as ``rbf``; ``None`` takes the
            features themselves.
        gamma: Parameter of the kernel, as in scikit-learn.
        unit_length: Whether samples are scaled to length 1, both before and after the projection.
        estimator: Classifier of the components; the nearest neighbor if ``None``.

    Attributes:
        components_: Matrix whose columns are the components.
    """

    @override
    def _align(
        self, Xs: Float[np.ndarray, "source features"], ys: np.ndarray, Xt: Float[np.ndarray, "target features"]
    ) -> None:
        difference = domain_difference(len(Xs), len(Xt))
        inputs = self._inputs(Xs, Xt)
        self.components_ = regularized_components(inputs, difference, self.n_components, self.regularization)
