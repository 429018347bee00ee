"""Shifts on a GPU: one kernel that reads and writes each value once, in the order of memory.

It has run in Triton's interpreter only, not yet on a GPU.
"""

from collections.abc import Sequence
from functools import lru_cache

import torch
import triton
import triton.language as tl
from torch import Tensor

_BLOCK = 1024
"""Values of one program."""


@triton.jit
def _kernel(
    image, out, dy_of_channel, dx_of_channel, size, channels, height, width,
    IS_LAST: tl.constexpr, BLOCK: tl.constexpr,  # noqa: N803 (as Triton's own kernels write constants)
):  # fmt: skip
    place = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    is_inside = place < size
    if IS_LAST:  # channels are neighbours in memory
        channel = place % channels
        pixel = place // channels
        x = pixel % width
        y = pixel // width % height
        pixel_stride = channels
    else:
        x = place % width
        y = place // width % height
        channel = place // (width * height) % channels
        pixel_stride = 1
    dy = tl.load(dy_of_channel + channel)
    dx = tl.load(dx_of_channel + channel)
    comes_from_inside = (y + dy >= 0) & (y + dy < height) & (x + dx >= 0) & (x + dx < width)
    step = (dy * width + dx).to(tl.int64) * pixel_stride
    value = tl.load(image + place + step, mask=is_inside & comes_from_inside, other=0.0)
    tl.store(out + place, value, mask=is_inside)


def shift_on_gpu(image: Tensor, shifts: Sequence[tuple[int, int, int]], out: Tensor) -> Tensor:
    """Write a shifted image, both contiguous or both ``channels_last``, of ``[batch, channels, height, width]``."""
    dy, dx = _offsets(tuple(shifts), image.device)
    channels, height, width = image.shape[1:]
    is_last = not image.is_contiguous()
    run = _kernel[(triton.cdiv(image.numel(), _BLOCK),)]
    run(image, out, dy, dx, image.numel(), channels, height, width, is_last, _BLOCK)  # pyright: ignore[reportArgumentType]
    return out


@lru_cache(maxsize=256)
def _offsets(shifts: tuple[tuple[int, int, int], ...], device: torch.device) -> tuple[Tensor, Tensor]:
    """Pixels down and right for each channel, on the device."""
    offsets = torch.tensor([(dy, dx) for num, dy, dx in shifts for _ in range(num)], dtype=torch.int32)
    dy, dx = offsets.T.contiguous().to(device)
    return dy, dx
