"""Fourier domain adaptation (FDA): the style of one image in another."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from lightning_edge.checks import check_at_least
from lightning_edge.ops.precision import at_least_float32


def transfer_amplitude(
    source: Float[Tensor, "batch 3 height width"],
    target: Float[Tensor, "batch 3 _ _"],
    beta: float = 0.01,
) -> Float[Tensor, "batch 3 height width"]:
    """Source images with the low-frequency amplitudes of target images (FDA, arXiv:2004.05498).

    Phases stay, and frequencies up to ``beta`` times the height and the width are replaced. The code of the paper takes
    the shorter side for both axes.

    Args:
        source: Images in [0, 1].
        target: As many images of the same size.
        beta: Part of the side that the frequencies may have, 0 to 0.5. With 0 only the mean color changes.

    Returns:
        Images, clamped to [0, 1].

    Raises:
        ValueError: Shapes differ, or beta is outside 0 to 0.5.
    """
    check_at_least(0, beta=beta)
    if beta > 0.5:
        raise ValueError(f"expected beta of at most 0.5, got {beta}")
    if source.shape != target.shape:
        raise ValueError(
            f"expected images of one shape as source and target, got {list(source.shape)} and {list(target.shape)}"
        )
    height, width = source.shape[-2:]
    spectrum, style = torch.fft.rfft2(at_least_float32(source)), torch.fft.rfft2(at_least_float32(target))
    rows = torch.fft.fftfreq(height, 1 / height, device=source.device).abs() <= math.floor(beta * height)
    columns = torch.fft.rfftfreq(width, 1 / width, device=source.device) <= math.floor(beta * width)
    mixed = torch.where(rows[:, None] & columns, torch.polar(style.abs(), spectrum.angle()), spectrum)
    return torch.fft.irfft2(mixed, s=(height, width)).clamp(0, 1).to(source.dtype)
