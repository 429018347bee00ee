"""Bandwidths of the Gaussian kernel exp(-distance^2 / (2 bandwidth^2))."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from sklearn.metrics.pairwise import euclidean_distances, rbf_kernel

from lightning_edge.checks import check_whole_at_least

RELATIVE_BANDWIDTHS = (0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0)


def gaussian_kernel(
    X: Float[np.ndarray, "samples features"], centers: Float[np.ndarray, "centers features"], bandwidth: float
) -> Float[np.ndarray, "samples centers"]:
    """Values of the Gaussian kernel between samples and centers.

    Raises:
        ValueError: The bandwidth is not above 0.
    """
    if not bandwidth > 0:
        raise ValueError(f"expected bandwidths above 0, got {bandwidth}")
    origin = centers.mean(0)  # distances far from 0 would lose digits
    return rbf_kernel(X - origin, centers - origin, gamma=1 / (2 * bandwidth**2))


def median_distance(X: Float[np.ndarray, "samples features"], Y: Float[np.ndarray, "others features"]) -> float:
    """Median of the distances between all pairs of different samples; 1 if it is 0, as with equal samples."""
    both = np.concatenate([X, Y])
    distances = euclidean_distances(both - both.mean(0))[np.triu_indices(len(both), 1)]
    return float(np.median(distances)) or 1.0


def bandwidths_to_try(
    bandwidths: Sequence[float] | None,
    Xs: Float[np.ndarray, "source features"],
    Xt: Float[np.ndarray, "target features"],
) -> Sequence[float]:
    """Bandwidths that cross-validation chooses from; multiples of the median distance of all samples if ``None``.

    Raises:
        ValueError: There are none.
    """
    if bandwidths is None:
        return np.multiply(RELATIVE_BANDWIDTHS, median_distance(Xs, Xt)).tolist()
    if not len(bandwidths):
        raise ValueError("expected one or more bandwidths, got none")
    return bandwidths


def draw_centers(
    Xt: Float[np.ndarray, "target features"], n_centers: int, random_state: np.random.RandomState
) -> Float[np.ndarray, "centers features"]:
    """Target samples in random order that serve as the centers of kernels; all of them if there are fewer.

    Raises:
        ValueError: ``n_centers`` is not a whole number of at least 1.
    """
    check_whole_at_least(1, n_centers=n_centers)
    return Xt[random_state.permutation(len(Xt))[:n_centers]]
