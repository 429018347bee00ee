"""Joint distribution adaptation."""

from typing import Any

import numpy as np
from jaxtyping import Float
from typing_extensions import override

from lightning_edge.checks import check_whole_at_least
from lightning_edge.shallow.kernel_components import KernelComponents
from lightning_edge.shallow.mean_differences import class_differences, domain_difference
from lightning_edge.shallow.transfer_components import regularized_components


class JointDistributionAdaptation(KernelComponents):
    r"""Transfer components that also bring together the means of each class, with pseudo-labels of the target.

    The first iteration is :class:`~lightning_edge.shallow.tca.TransferComponentAnalysis`. Its classifier labels the
    target samples, and each further iteration adds to M the differences between the domains' means of each class (Long
    et al., *Transfer feature learning with joint distribution adaptation*, ICCV 2013). As in the authors' code, the
    difference between the domains is weighted by the number of classes, and M is divided by its Frobenius norm. A class
    that no target sample is predicted to have is left out.

    Args:
        n_components: Number of components, at most as many as there are features (or samples, with a kernel).
        regularization: Strength of the regularization, :math:`\lambda`.
        n_iter: Number of iterations.
        kernel: Kernel of :func:`sklearn.metrics.pairwise.pairwise_kernels`, such as ``rbf``; ``None`` takes the
            features themselves.
        gamma: Parameter of the kernel, as in scikit-learn.
        unit_length: Whether samples are scaled to length 1, both before and after the projection.
        estimator: Classifier of the components; the nearest neighbor if ``None``.

    Attributes:
        components_: Matrix whose columns are the components.
        pseudo_labels_: Labels of the target samples from the iteration before the last; ``None`` after a single one.
    """

    def __init__(
        self,
        n_components: int = 20,
        regularization: float = 1.0,
        n_iter: int = 10,
        kernel: str | None = None,
        gamma: float | None = None,
        unit_length: bool = True,
        estimator: Any = None,
    ) -> None:
        super().__init__(n_components, regularization, kernel, gamma, unit_length, estimator)
        self.n_iter = n_iter

    @override
    def _align(
        self, Xs: Float[np.ndarray, "source features"], ys: np.ndarray, Xt: Float[np.ndarray, "target features"]
    ) -> None:
        check_whole_at_least(1, n_iter=self.n_iter)
        inputs = self._inputs(Xs, Xt)
        between_domains = np.sqrt(len(self.classes_)) * domain_difference(len(Xs), len(Xt))
        differences, self.pseudo_labels_ = between_domains, None
        for iteration in range(self.n_iter):
            if iteration > 0:
                self.pseudo_labels_ = self._new_classifier().fit(self._map(Xs), ys).predict(self._map(Xt))
                between_classes = class_differences(ys, self.pseudo_labels_, self.classes_)
                differences = np.hstack([between_domains, between_classes])
            self.components_ = regularized_components(inputs, differences, self.n_components, self.regularization)
