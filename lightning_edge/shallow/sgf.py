"""Sampled geodesic flow."""

from typing import Any

import numpy as np
from jaxtyping import Float
from typing_extensions import override

from lightning_edge.checks import check_whole_at_least
from lightning_edge.shallow.alignment import AlignedClassifier
from lightning_edge.shallow.principal_subspace import geodesic_between, principal_bases


class SampledGeodesicFlow(AlignedClassifier):
    """Projections onto a few subspaces between the principal components of the source and of the target.

    The subspaces are at equal distances on the geodesic, from that of the source to that of the target. The projections
    onto all of them are concatenated (Gopalan et al., *Domain adaptation for object recognition: an unsupervised
    approach*, ICCV 2011). The paper then reduces them by partial least squares, which this class leaves to
    ``estimator``. With more and more subspaces, inner products approach those of
    :class:`~lightning_edge.shallow.gfk.GeodesicFlowKernel`.

    Args:
        n_components: Number of principal components, at most as many as the domains have.
        n_subspaces: Number of subspaces, at least 2.
        estimator: Classifier of the aligned features; the nearest neighbor if ``None``.

    Attributes:
        projection_: Matrix from features to aligned features.
        angles_: Principal angles between the subspaces, in radians.
    """

    def __init__(self, n_components: int = 20, n_subspaces: int = 10, estimator: Any = None) -> None:
        super().__init__(estimator)
        self.n_components = n_components
        self.n_subspaces = n_subspaces

    @override
    def _align(
        self, Xs: Float[np.ndarray, "source features"], ys: np.ndarray, Xt: Float[np.ndarray, "target features"]
    ) -> None:
        check_whole_at_least(2, n_subspaces=self.n_subspaces)
        flow = geodesic_between(*principal_bases(Xs, Xt, self.n_components))
        bases = [flow.basis_at(position) for position in np.linspace(0, 1, self.n_subspaces)]
        self.angles_, self.projection_ = flow.angles, np.hstack(bases) / np.sqrt(self.n_subspaces)

    @override
    def _map(self, X: Float[np.ndarray, "samples features"]) -> Float[np.ndarray, "samples aligned"]:
        return X @ self.projection_
