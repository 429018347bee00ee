"""Transfer components of kernel values, which may depend on the features in a nonlinear way."""

from abc import ABC
from typing import Any

import numpy as np
from jaxtyping import Float
from sklearn.metrics.pairwise import pairwise_kernels
from typing_extensions import override

from lightning_edge.shallow.transfer_components import TransferComponents


class KernelComponents(TransferComponents, ABC):
    """Base of the methods whose components are combinations of the features or of kernel values.

    Args:
        n_components: Number of components, at most as many as there are features (or samples, with a kernel).
        regularization: Strength of the regularization, lambda.
        kernel: Kernel of :func:`sklearn.metrics.pairwise.pairwise_kernels`, such as ``rbf``; ``None`` takes the
            features themselves.
        gamma: Parameter of the kernel, as in scikit-learn.
        unit_length: Whether samples are scaled to length 1, both before and after the projection.
        estimator: Classifier of the components; the nearest neighbor if ``None``.

    Attributes:
        components_: Matrix whose columns are the components.
        samples_: Samples of both domains, scaled, if there is a kernel; else ``None``.
    """

    def __init__(
        self,
        n_components: int = 20,
        regularization: float = 1.0,
        kernel: str | None = None,
        gamma: float | None = None,
        unit_length: bool = True,
        estimator: Any = None,
    ) -> None:
        super().__init__(n_components, regularization, unit_length, estimator)
        self.kernel = kernel
        self.gamma = gamma

    @override
    def _inputs(
        self, Xs: Float[np.ndarray, "source features"], Xt: Float[np.ndarray, "target features"]
    ) -> Float[np.ndarray, "samples inputs"]:
        self.samples_ = None if self.kernel is None else self._scaled(np.concatenate([Xs, Xt]))
        return super()._inputs(Xs, Xt)

    @override
    def _input(self, X: Float[np.ndarray, "samples features"]) -> Float[np.ndarray, "samples inputs"]:
        X = self._scaled(X)
        if self.kernel is None:
            return X
        return pairwise_kernels(X, self.samples_, metric=self.kernel, filter_params=True, gamma=self.gamma)
