"""Shifts of contiguous images on a CPU, which read and write each pixel once.

In memory a shift by (dy, dx) is a copy from an address that is ``dy * width + dx`` values further, except that pixels
wrap around at the ends of rows and planes. Wrapped pixels are set to zero by a bit mask in the same pass. It is a bit
mask because zero times infinity is not zero. The copies are planned once for each image size, because the plan takes
longer than the shift of a small image.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

_Shifts = Sequence[tuple[int, int, int]]
"""Number of channels, pixels down and pixels right of each shift."""

_INTEGER_OF_BYTES = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


class _Step(NamedTuple):
    """A part of the result, and the part of the image that it is copied from; zero if there is none.

    Both are strided arrays with the same axes. Their offsets in memory are counted from the start of the image.
    """

    axes: tuple[int, ...]
    to_strides: tuple[int, ...]
    to: int
    from_strides: tuple[int, ...] | None = None
    come_from: int = 0
    mask: Tensor | None = None
    """Bits that are kept; all bits if ``None``."""


def has_integers_of_its_size(image: Tensor) -> bool:
    """Whether :func:`shift_planes` can copy the values as integers. There are no integers of 16 bytes."""
    return image.itemsize in _INTEGER_OF_BYTES


def shift_planes(image: Tensor, shifts: _Shifts, out: Tensor) -> Tensor:
    """Write a shifted image, both contiguous ``[batch, channels, height, width]``."""
    integer = _INTEGER_OF_BYTES[image.itemsize]
    bits, out_bits = image.view(integer), out.view(integer)
    begin, out_begin = image.storage_offset(), out.storage_offset()
    for axes, to_strides, to, from_strides, come_from, mask in _plan(tuple(shifts), image.shape, integer):
        target = out_bits.as_strided(axes, to_strides, out_begin + to)
        if from_strides is None:
            target.zero_()
            continue
        source = bits.as_strided(axes, from_strides, begin + come_from)
        if mask is None:
            target.copy_(source)
        else:
            torch.bitwise_and(source, mask, out=target)
    return out


@lru_cache(maxsize=512)
def _plan(shifts: tuple[tuple[int, int, int], ...], shape: torch.Size, integer: torch.dtype) -> tuple[_Step, ...]:
    """All steps for images of a shape."""
    steps: list[_Step] = []
    first = 0
    if grid := _find_grid(shifts, *shape[2:]):
        size, dilation, each = grid
        steps.append(_grid_step(size, dilation, each, shape, integer))
        shifts, first = shifts[size**2 :], size**2 * each
    for num, dy, dx in shifts:
        steps.extend(_group_steps(first, num, dy, dx, shape, integer))
        first += num
    return tuple(step for step in steps if 0 not in step.axes)


def _find_grid(shifts: tuple[tuple[int, int, int], ...], height: int, width: int) -> tuple[int, int, int] | None:
    """Kernel size, dilation and channels per position, if the shifts start with a grid; ``None`` otherwise.

    The order is that of :func:`~lightning_edge.ops.shift.grid_shifts`: descending steps, columns outside of rows.
    """
    each, reach, _ = shifts[0]
    if reach <= 0 or each * height * width < reach * (width + 1):
        return None
    for size in range(3, int(len(shifts) ** 0.5) + 1, 2):
        dilation, rest = divmod(reach, size // 2)
        steps = [dilation * (size // 2 - place) for place in range(size)]
        if not rest and list(shifts[: size**2]) == [(each, dy, dx) for dx in steps for dy in steps]:
            return size, dilation, each
    return None


def _grid_step(size: int, dilation: int, each: int, shape: torch.Size, integer: torch.dtype) -> _Step:
    """The copy of all channels of a grid.

    Along a grid the distance between the source and the target of a channel changes evenly, so both are strided arrays
    with five axes. Nothing is read outside of the image, because the grid starts with the largest forward step and ends
    with the largest backward step.
    """
    batch, num_channels, height, width = shape
    plane, group = height * width, each * height * width
    return _Step(
        axes=(batch, size, size, each, plane),
        to_strides=(num_channels * plane, size * group, group, plane, 1),
        to=0,
        from_strides=(num_channels * plane, size * group - dilation, group - dilation * width, plane, 1),
        come_from=dilation * (size // 2) * (width + 1),
        mask=_grid_mask(height, width, size, dilation, integer),
    )


def _group_steps(first: int, num: int, dy: int, dx: int, shape: torch.Size, integer: torch.dtype) -> Iterator[_Step]:
    """The copies of adjacent channels that have the same shift."""
    batch, num_channels, height, width = shape
    plane, begin = height * width, first * height * width
    strides = (num_channels * plane, plane, width, 1)
    top, bottom = min(height, max(0, -dy)), max(0, height - max(0, dy))
    left, right = min(width, max(0, -dx)), max(0, width - max(0, dx))
    if top >= bottom or left >= right:
        yield _Step((batch, num, plane), (*strides[:2], 1), begin)
        return
    to, step = begin + top * width, dy * width + dx
    reads_before = first == 0 and dx < 0 and dy <= 0
    reads_behind = first + num == num_channels and dx > 0 and dy >= 0
    if reads_before or reads_behind:
        axes = (batch, num, bottom - top, right - left)
        yield _Step(axes, strides, to + left, strides, to + left + step)
        yield _Step((batch, num, bottom - top, left), strides, to)
        yield _Step((batch, num, bottom - top, width - right), strides, to + right)
    else:
        # whole rows, with the pixels that wrapped around set to zero
        axes = (batch, num, (bottom - top) * width)
        mask = _column_mask(bottom - top, width, dx, integer) if dx else None
        yield _Step(axes, (*strides[:2], 1), to, (*strides[:2], 1), to + step, mask)
    yield _Step((batch, num, top * width), (*strides[:2], 1), begin)
    yield _Step((batch, num, (height - bottom) * width), (*strides[:2], 1), begin + bottom * width)


@lru_cache(maxsize=64)
def _grid_mask(height: int, width: int, size: int, dilation: int, integer: torch.dtype) -> Tensor:
    """Bit mask of the pixels that a grid position reads from inside the image: ``[size, size, 1, pixels]``."""
    steps = dilation * (size // 2 - torch.arange(size, device="cpu"))
    rows, columns = (_inside(length, steps[:, None]) for length in (height, width))
    inside = columns[:, None, None, :] & rows[None, :, :, None]
    return inside.to(integer).neg_().reshape(size, size, 1, height * width)


@lru_cache(maxsize=64)
def _column_mask(height: int, width: int, dx: int, integer: torch.dtype) -> Tensor:
    """Bit mask of the pixels that a horizontal step reads from inside their row: ``[pixels]``."""
    return _inside(width, torch.tensor(dx, device="cpu")).to(integer).neg_().repeat(height)


def _inside(length: int, step: Tensor) -> Tensor:
    position = torch.arange(length, device="cpu") + step
    return (position >= 0) & (position < length)
