"""Sums of Gaussian kernels of several bandwidths."""

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

Bandwidth = Literal["mean", "median"] | float
"""How a bandwidth follows from the squared distances, or its value."""

MULTIPLES = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Multiples of the bandwidth in public code of DAN and of many later methods.

The source of DAN is arXiv:1502.02791.
"""


def squared_distances(
    first: Float[Tensor, "first features"], second: Float[Tensor, "second features"]
) -> Float[Tensor, "first second"]:
    """Squared Euclidean distance of each sample of one batch to each sample of another.

    One product of matrices computes them. Both batches are shifted by the first sample of the first batch, so that
    features far from zero lose no digits. Distances that are small beside those to that sample do lose digits.
    """
    origin = first[:1].detach()
    first, second = first - origin, second - origin
    squares = first.square().sum(1)[:, None] + second.square().sum(1)
    return (squares - 2 * first @ second.T).clamp(min=0)


def gaussian_kernels(
    features: Float[Tensor, "samples features"],
    multiples: Sequence[float] = MULTIPLES,
    bandwidth: Bandwidth = "mean",
) -> Float[Tensor, "samples samples"]:
    """Sum over kernels of exp(-d / (multiple * bandwidth)), where d is the squared distance of two samples.

    Args:
        features: Features of two or more samples, of all domains that are compared.
        multiples: Multiple of the bandwidth of each kernel.
        bandwidth: ``mean`` or ``median`` of the squared distances of distinct samples, or the bandwidth itself, a
            squared distance. No gradient flows through it.

    Raises:
        ValueError: A multiple or the bandwidth is not above 0, or there are no multiples.
    """
    distances = squared_distances(features, features)
    row, column = torch.triu_indices(len(features), len(features), offset=1, device=features.device)
    return sum_of_gaussians(distances, distances[row, column], multiples, bandwidth)


def sum_of_gaussians(
    distances: Float[Tensor, "*shape"],
    samples: Float[Tensor, " samples"],
    multiples: Sequence[float],
    bandwidth: Bandwidth,
) -> Float[Tensor, "*shape"]:
    """Sum of Gaussian kernels at squared distances.

    Args:
        distances: Squared distances at which the kernels are computed.
        samples: Squared distances of which a bandwidth of ``mean`` or ``median`` is the mean or the median.
        multiples: Multiple of the bandwidth of each kernel.
        bandwidth: See :func:`gaussian_kernels`.

    Raises:
        ValueError: A multiple or the bandwidth is not above 0, or there are no multiples.
    """
    if not multiples or not all(multiple > 0 for multiple in multiples):
        raise ValueError(f"expected one or more multiples above 0, got {list(multiples)}")
    scaled = distances / _bandwidth(samples.detach(), bandwidth)
    return torch.stack([torch.exp(scaled / -multiple) for multiple in multiples]).sum(0)


def _bandwidth(samples: Tensor, bandwidth: Bandwidth) -> Tensor | float:
    if isinstance(bandwidth, str):
        if bandwidth not in ("mean", "median"):
            raise ValueError(f"expected mean, median or a number as bandwidth, got {bandwidth!r}")
        typical = samples.mean() if bandwidth == "mean" else samples.median()
        # all samples may be equal; then any bandwidth gives kernels of 1
        return torch.where(typical > 0, typical, 1.0)
    if not bandwidth > 0:
        raise ValueError(f"expected bandwidth above 0, got {bandwidth}")
    return bandwidth
