"""Gradient noise: the variance of the gradients of single examples.

Source: McCandlish et al., arXiv:1812.06162, appendix A.1, for batches of two sizes. Here the larger batch is the union
of several smaller ones, which may differ in size.
"""

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor


class GradientNoise(NamedTuple):
    """Unbiased estimates from one step. Average each over many steps before dividing one by the other."""

    variance: Float[Tensor, ""]
    """Trace of the covariance of the gradients of single examples."""
    squared_gradient: Float[Tensor, ""]
    """Squared norm of the mean gradient. An estimate can be negative."""


def gradient_noise(
    part_square: Float[Tensor, ""],
    whole_square: Float[Tensor, ""],
    inverse_size: Float[Tensor, ""],
    num_parts: Float[Tensor, ""],
) -> GradientNoise:
    """Estimate the noise from the gradients of several parts and of their mean.

    On average, the squared norm of a part's gradient exceeds that of the true gradient by ``variance / size``. For the
    mean of all parts, the excess is divided by ``num_parts``. Examples drawn without replacement give the same
    variance.

    Args:
        part_square: Mean over the parts of the squared norm of their gradients.
        whole_square: Squared norm of the mean of these gradients.
        inverse_size: Mean over the parts of 1 / number of examples.
        num_parts: Number of parts, at least 2.
    """
    variance = (part_square - whole_square) / (inverse_size * (1 - 1 / num_parts))
    return GradientNoise(variance, whole_square - variance * inverse_size / num_parts)
