"""Gradient noise: how far the gradients of single examples scatter about their mean.

Source: McCandlish et al., arXiv:1812.06162, appendix A.1, for batches of two sizes; here one of them is the mean of
several of the other, which may differ in size.
"""

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor


class GradientNoise(NamedTuple):
    """Unbiased estimates from one step; only their means over many steps are of use, and may be divided."""

    variance: Float[Tensor, ""]
    """Trace of the covariance of the gradients of single examples."""
    squared_gradient: Float[Tensor, ""]
    """Squared norm of their mean; an estimate may be negative."""


def gradient_noise(
    part_square: Float[Tensor, ""],
    whole_square: Float[Tensor, ""],
    inverse_size: Float[Tensor, ""],
    num_parts: Float[Tensor, ""],
) -> GradientNoise:
    """Estimate the noise from the gradients of several parts and of their mean.

    The squared norm of a part's gradient exceeds that of the true one by ``variance / size``, on average, that of the
    mean of all parts by as much divided by ``num_parts``. Examples drawn without replacement give the same variance.

    Args:
        part_square: Mean over the parts of the squared norm of their gradients.
        whole_square: Squared norm of the mean of these gradients.
        inverse_size: Mean over the parts of 1 / examples.
        num_parts: How many parts, 2 or more.
    """
    variance = (part_square - whole_square) / (inverse_size * (1 - 1 / num_parts))
    return GradientNoise(variance, whole_square - variance * inverse_size / num_parts)
