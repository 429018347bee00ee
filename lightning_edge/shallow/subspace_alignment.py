"""Subspace alignment."""

from typing import Any

import numpy as np
from jaxtyping import Float
from typing_extensions import override

from lightning_edge.shallow.alignment import AlignedClassifier
from lightning_edge.shallow.principal_subspace import principal_bases


class SubspaceAlignment(AlignedClassifier):
    r"""The principal components of the source, turned toward those of the target.

    A target sample has the features :math:`x P_t` and a source sample the features :math:`x P_s P_s^\top P_t`, where
    the columns of P are the first principal components of a domain, which is centered (Fernando et al.,
    *Unsupervised visual domain adaptation using subspace alignment*, ICCV 2013).

    Args:
        n_components: Number of principal components, at most as many as the domains have.
        estimator: Classifier of the aligned features; the nearest neighbor if ``None``.

    Attributes:
        source_mean_: Mean of the source samples.
        target_mean_: Mean of the target samples.
        source_projection_: Matrix from features to aligned features of the source.
        target_projection_: Matrix from features to aligned features of the target.
    """

    def __init__(self, n_components: int = 30, estimator: Any = None) -> None:
        super().__init__(estimator)
        self.n_components = n_components

    @override
    def _align(
        self, Xs: Float[np.ndarray, "source features"], ys: np.ndarray, Xt: Float[np.ndarray, "target features"]
    ) -> None:
        source, target = principal_bases(Xs, Xt, self.n_components)
        self.source_mean_, self.target_mean_ = Xs.mean(0), Xt.mean(0)
        self.source_projection_, self.target_projection_ = source @ (source.T @ target), target

    @override
    def _map(self, X: Float[np.ndarray, "samples features"]) -> Float[np.ndarray, "samples aligned"]:
        return (X - self.target_mean_) @ self.target_projection_

    @override
    def _map_source(self, X: Float[np.ndarray, "samples features"]) -> Float[np.ndarray, "samples aligned"]:
        return (X - self.source_mean_) @ self.source_projection_
