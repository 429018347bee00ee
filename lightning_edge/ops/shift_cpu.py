"""Shifts of contiguous images on a CPU, each pixel read and written once.

In memory a shift by (dy, dx) is a copy from ``dy * width + dx`` further on, except that rows and columns run into each
other. What ran into the wrong place is made zero by a bit mask in the same pass; as bits, because zero times infinity
is none.
"""

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

_Shifts = Sequence[tuple[int, int, int]]
"""Number of channels, pixels down and pixels right for each."""

_INTEGER_OF_BYTES = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def shift_planes(image: Tensor, shifts: _Shifts, out: Tensor) -> Tensor:
    """Write a shifted image, both contiguous ``[batch, channels, height, width]``."""
    integer = _INTEGER_OF_BYTES[image.itemsize]
    bits, out_bits = image.view(integer), out.view(integer)
    num_in_grid = _shift_grid(bits, tuple(shifts), out_bits)
    first = 0
    for num, dy, dx in shifts:
        if first >= num_in_grid:
            _shift_group(bits, first, num, dy, dx, out_bits)
        first += num
    return out


def _shift_grid(bits: Tensor, shifts: tuple[tuple[int, int, int], ...], out: Tensor) -> int:
    """Shift those channels that make a grid, in one copy, and return their number.

    Along a grid the distance between where a channel is read and where it is written changes evenly, so that both are
    arrays of five axes with strides. Nothing is read outside of the image, for the grid begins with the step that leads
    furthest ahead and ends with the one that leads furthest back.
    """
    num, _, height, width = bits.shape
    grid = _find_grid(shifts)
    if grid is None:
        return 0
    size, reach, each = grid
    plane, group = height * width, each * height * width
    dilation = reach // (size // 2)
    if group < reach * (width + 1):
        return 0
    axes = (num, size, size, each, plane)
    image_stride = bits.stride(0)
    come_from = bits.as_strided(
        axes,
        (image_stride, size * group - dilation, group - dilation * width, plane, 1),
        bits.storage_offset() + reach * (width + 1),
    )
    to = out.as_strided(axes, (image_stride, size * group, group, plane, 1), out.storage_offset())
    torch.bitwise_and(come_from, _grid_mask(height, width, size, dilation, bits.dtype), out=to)
    return size * size * each


def _shift_group(bits: Tensor, first: int, num: int, dy: int, dx: int, out: Tensor) -> None:
    """Shift some neighbouring channels alike."""
    batch, num_channels, height, width = bits.shape
    channels = slice(first, first + num)
    if dy == dx == 0:
        out[:, channels].copy_(bits[:, channels])
        return
    if abs(dy) >= height or abs(dx) >= width:
        out[:, channels].zero_()
        return
    top, bottom = max(0, -dy), height - max(0, dy)
    reads_before = first == 0 and dx < 0 and dy <= 0
    reads_behind = first + num == num_channels and dx > 0 and dy >= 0
    if dx == 0:
        out[:, channels, top:bottom].copy_(bits[:, channels, top + dy : bottom + dy])
    elif reads_before or reads_behind:
        left, right = max(0, -dx), width - max(0, dx)
        inside = bits[:, channels, top + dy : bottom + dy, left + dx : right + dx]
        out[:, channels, top:bottom, left:right].copy_(inside)
        out[:, channels, :, :left].zero_()
        out[:, channels, :, right:].zero_()
    else:
        # whole rows, and what ran over their ends blanked
        axes, strides = (batch, num, (bottom - top) * width), (bits.stride(0), height * width, 1)
        begin = (first * height + top) * width
        come_from = bits.as_strided(axes, strides, bits.storage_offset() + begin + dy * width + dx)
        to = out.as_strided(axes, strides, out.storage_offset() + begin)
        torch.bitwise_and(come_from, _column_mask(bottom - top, width, dx, bits.dtype), out=to)
    out[:, channels, :top].zero_()
    out[:, channels, bottom:].zero_()


@lru_cache(maxsize=512)
def _find_grid(shifts: tuple[tuple[int, int, int], ...]) -> tuple[int, int, int] | None:
    """Places in each direction, largest step and channels at each place, where shifts begin with a grid's.

    As :func:`~lightning_edge.ops.shift.grid_shifts` orders them: steps fall, columns outside of rows.
    """
    each, reach, _ = shifts[0]
    for size in range(3, int(len(shifts) ** 0.5) + 1, 2):
        dilation, rest = divmod(reach, size // 2)
        steps = [dilation * (size // 2 - place) for place in range(size)]
        if reach > 0 and not rest and list(shifts[: size**2]) == [(each, dy, dx) for dx in steps for dy in steps]:
            return size, reach, each
    return None


@lru_cache(maxsize=64)
def _grid_mask(height: int, width: int, size: int, dilation: int, integer: torch.dtype) -> Tensor:
    """All bits of the pixels that a place of the grid fills from within the picture: ``[size, size, 1, pixels]``."""
    steps = dilation * (size // 2 - torch.arange(size))
    rows, columns = (_inside(length, steps[:, None]) for length in (height, width))
    inside = columns[:, None, None, :] & rows[None, :, :, None]
    return inside.to(integer).neg_().reshape(size, size, 1, height * width)


@lru_cache(maxsize=64)
def _column_mask(height: int, width: int, dx: int, integer: torch.dtype) -> Tensor:
    """All bits of the pixels that a step to the side fills from within their row: ``[pixels]``."""
    return _inside(width, torch.tensor(dx)).to(integer).neg_().repeat(height)


def _inside(length: int, step: Tensor) -> Tensor:
    position = torch.arange(length) + step
    return (position >= 0) & (position < length)
