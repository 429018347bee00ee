"""Shifts on a GPU: one kernel that reads and writes each value once, in the order of memory."""

from collections.abc import Sequence
from functools import cache
from typing import no_type_check

import torch
import triton
import triton.language as tl
from torch import Tensor

_BLOCK = 1024
"""Number of values of one program."""

_MAX_SIZE_OF_INT32 = 2**31 - _BLOCK
"""Largest number of values whose indices, including those of the last program, fit into 32 bits."""


@triton.jit
@no_type_check  # Triton reads the function's source, so a type checker must not wrap it
def _kernel(
    image, out, dy_of_channel, dx_of_channel, size,
    CHANNELS: tl.constexpr, HEIGHT: tl.constexpr, WIDTH: tl.constexpr,  # noqa: N803 (as Triton's own kernels do)
    IS_LAST: tl.constexpr, INDEX: tl.constexpr, BLOCK: tl.constexpr,  # noqa: N803
):  # fmt: skip
    # sizes are constants, because dividing by variables takes several times as long as moving the values
    place = tl.program_id(0).to(INDEX) * BLOCK + tl.arange(0, BLOCK)
    is_inside = place < size
    if IS_LAST:  # channels are adjacent in memory
        channel = place % CHANNELS
        pixel = place // CHANNELS
        y = pixel // WIDTH % HEIGHT
        x = pixel % WIDTH
        pixel_stride = CHANNELS
    else:
        x = place % WIDTH
        row = place // WIDTH
        y = row % HEIGHT
        channel = row // HEIGHT % CHANNELS
        pixel_stride = 1
    dy = tl.load(dy_of_channel + channel).to(INDEX)
    dx = tl.load(dx_of_channel + channel).to(INDEX)
    comes_from_inside = (y + dy >= 0) & (y + dy < HEIGHT) & (x + dx >= 0) & (x + dx < WIDTH)
    step = (dy * WIDTH + dx) * pixel_stride
    value = tl.load(image + place + step, mask=is_inside & comes_from_inside, other=0.0)
    tl.store(out + place, value, mask=is_inside)


def shift_on_gpu(image: Tensor, shifts: Sequence[tuple[int, int, int]], out: Tensor) -> Tensor:
    """Write a shifted image ``[batch, channels, height, width]``; both are contiguous or both are ``channels_last``.

    The kernel is compiled for each number of channels and image size, which takes some tenths of a second.
    """
    dy, dx = _offsets(tuple(shifts), image.device)
    channels, height, width = image.shape[1:]
    size, is_last = image.numel(), not image.is_contiguous()
    index = tl.int32 if size <= _MAX_SIZE_OF_INT32 else tl.int64
    run = _kernel[(triton.cdiv(size, _BLOCK),)]
    with torch.cuda.device_of(image):  # Triton launches on the current device
        run(image, out, dy, dx, size, channels, height, width, is_last, index, _BLOCK)  # pyright: ignore[reportArgumentType]
    return out


@cache
def _offsets(shifts: tuple[tuple[int, int, int], ...], device: torch.device) -> tuple[Tensor, Tensor]:
    """Pixels down and right for each channel, on the device. They are never freed, as a CUDA graph can reuse them."""
    offsets = torch.tensor([(dy, dx) for num, dy, dx in shifts for _ in range(num)], dtype=torch.int32)
    dy, dx = offsets.T.contiguous().to(device)
    return dy, dx
