"""Principal components of a domain as an orthonormal basis, and the geodesic between two such subspaces."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from sklearn.utils.extmath import svd_flip

from lightning_edge.checks import check_whole_at_least


def principal_bases(
    Xs: Float[np.ndarray, "source features"], Xt: Float[np.ndarray, "target features"], n_components: int
) -> tuple[Float[np.ndarray, "features components"], Float[np.ndarray, "features components"]]:
    """Orthonormal bases of the first principal components of each domain, which is centered for it.

    Both have as many components, at most as many as the variance of each domain has directions, because others are
    rounding errors.

    Raises:
        ValueError: ``n_components`` is not a whole number of at least 1.
    """
    check_whole_at_least(1, n_components=n_components)
    domains = [_components(X) for X in (Xs, Xt)]
    n_components = min(n_components, *(len(components) for components in domains))
    source, target = (components[:n_components].T for components in domains)
    return source, target


def _components(X: Float[np.ndarray, "samples features"]) -> Float[np.ndarray, "components features"]:
    """All principal components with variance, the first one if there is none."""
    scores, values, components = np.linalg.svd(X - X.mean(0), full_matrices=False)
    _, components = svd_flip(scores, components, u_based_decision=False)  # the signs of PCA in scikit-learn
    largest_error = values[0] * max(X.shape) * np.finfo(values.dtype).eps
    return components[: max(1, int((values > largest_error).sum()))]


class Geodesic(NamedTuple):
    """The shortest way from one subspace to another: the basis at t in [0, 1] has the columns cos(t a) s + sin(t a) d.

    The columns s of ``start`` and d of ``direction`` are orthonormal, and a are the principal angles.
    """

    start: Float[np.ndarray, "features components"]
    direction: Float[np.ndarray, "features components"]
    angles: Float[np.ndarray, " components"]
    """Principal angles between the subspaces, in radians, within [0, pi / 2]."""

    def basis_at(self, position: float) -> Float[np.ndarray, "features components"]:
        """Orthonormal basis at a position between 0, the source, and 1, the target."""
        return np.cos(position * self.angles) * self.start + np.sin(position * self.angles) * self.direction


def geodesic_between(
    source: Float[np.ndarray, "features components"], target: Float[np.ndarray, "features components"]
) -> Geodesic:
    """The geodesic between two subspaces on the Grassmann manifold (Edelman et al., SIAM J. Matrix Anal., 1998).

    The directions need no basis of the orthogonal complement. Angles come from sines and cosines, because the arc
    cosine of a number near 1 has only half of the digits.

    Args:
        source: Orthonormal basis at the start.
        target: Orthonormal basis at the end.
    """
    left, cosines, right = np.linalg.svd(source.T @ target)
    start = source @ left
    rest = target @ right.T - start * cosines
    sines = np.linalg.norm(rest, axis=0)
    # where the angle is 0, any direction will do
    direction = rest / np.maximum(sines, np.finfo(np.float64).tiny)
    return Geodesic(start, direction, np.arctan2(sines, cosines))
