"""Reversal of gradients between features and an adversary."""

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from lightning_edge.checks import check_at_least


def reverse_gradient(x: Float[Tensor, "*shape"], scale: float = 1.0) -> Float[Tensor, "*shape"]:
    """The same values; the gradient is multiplied by ``-scale`` on its way back (DANN, arXiv:1505.07818).

    Args:
        x: Features that shall deceive the net behind, which learns as usual.
        scale: Factor of the gradient, for example :func:`adaptation_factor`.
    """
    return _GradientReversal.apply(x, scale)


def adaptation_factor(progress: float, steepness: float = 10.0) -> float:
    """Factor that rises from 0 to almost 1 with the progress of training: 2 / (1 + exp(-10 progress)) - 1.

    The source is DANN (arXiv:1505.07818). An adversary that has not yet learned disturbs less so.

    Args:
        progress: Part of the training that is done, 0 to 1.
        steepness: The 10 in the formula. With 0 the factor stays 0.

    Raises:
        ValueError: The progress is outside 0 to 1, or the steepness is below 0.
    """
    check_at_least(0, progress=progress, steepness=steepness)
    if progress > 1:
        raise ValueError(f"expected progress of at most 1, got {progress}")
    return math.tanh(steepness * progress / 2)


class _GradientReversal(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: float) -> Tensor:
        ctx.scale = scale
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        return -ctx.scale * gradient, None
