"""The geodesic flow kernel."""

from typing import Any

import numpy as np
from jaxtyping import Float
from typing_extensions import override

from lightning_edge.shallow.alignment import AlignedClassifier
from lightning_edge.shallow.principal_subspace import Geodesic, geodesic_between, principal_bases


class GeodesicFlowKernel(AlignedClassifier):
    r"""All subspaces between the principal components of the source and of the target, in one kernel.

    The kernel is :math:`x^\top G y` with :math:`G = \int_0^1 \Phi(t) \Phi(t)^\top dt`, where :math:`\Phi(t)` is the
    basis at position t of the geodesic. It has a closed form by principal angles (Gong et al., *Geodesic flow kernel
    for unsupervised domain adaptation*, CVPR 2012). G has rank 2d for d components, so the aligned features are
    2d numbers whose inner products are the values of the kernel. Both domains are mapped in the same way.

    Args:
        n_components: Number of principal components d, at most as many as the domains have.
        estimator: Classifier of the aligned features; the nearest neighbor if ``None``.

    Attributes:
        projection_: Matrix W from features to aligned features; G is :math:`W W^\top`.
        angles_: Principal angles between the subspaces, in radians.
    """

    def __init__(self, n_components: int = 20, estimator: Any = None) -> None:
        super().__init__(estimator)
        self.n_components = n_components

    @override
    def _align(
        self, Xs: Float[np.ndarray, "source features"], ys: np.ndarray, Xt: Float[np.ndarray, "target features"]
    ) -> None:
        flow = geodesic_between(*principal_bases(Xs, Xt, self.n_components))
        self.angles_, self.projection_ = flow.angles, flow_factor(flow)

    @override
    def _map(self, X: Float[np.ndarray, "samples features"]) -> Float[np.ndarray, "samples aligned"]:
        return X @ self.projection_


def flow_factor(flow: Geodesic) -> Float[np.ndarray, "features twice_components"]:
    """A matrix W such that ``W @ W.T`` is the integral of ``basis @ basis.T`` along a geodesic.

    In the plane of a start and a direction, the integral is a 2x2 matrix of the means of cos^2, cos sin and sin^2.
    """
    angles = flow.angles
    swing = np.sinc(2 * angles / np.pi)  # sin(2a) / 2a
    mixed = np.sin(angles) * np.sinc(angles / np.pi) / 2
    means = np.array([[(1 + swing) / 2, mixed], [mixed, (1 - swing) / 2]]).transpose(2, 0, 1)
    values, vectors = np.linalg.eigh(means)
    roots = vectors * np.sqrt(np.maximum(values, 0))[:, None]
    planes = np.stack([flow.start, flow.direction], axis=2)  # features, components, 2
    return np.einsum("fcp,cpq->fcq", planes, roots).reshape(len(planes), -1)
