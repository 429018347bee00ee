"""Shifts written in torch's own operators, for any device, layout, transform or exporter.

They are slower than :mod:`~lightning_edge.ops.shift_cpu` and :mod:`~lightning_edge.ops.shift_triton`, which are tested
against them.
"""

from collections.abc import Sequence
from itertools import accumulate

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

_Shifts = Sequence[tuple[int, int, int]]
"""Number of channels, pixels down and pixels right of each shift."""


def shift_by_slices(image: Tensor, shifts: _Shifts, out: Tensor) -> Tensor:
    """Write the shift by its definition, for any layout."""
    height, width = image.shape[2:]
    out.zero_()
    first = 0
    for num, dy, dx in shifts:
        channels = slice(first, first + num)
        to, come_from = _inside(height, width, dy, dx), _inside(height, width, -dy, -dx)
        out[:, channels, *to] = image[:, channels, *come_from]
        first += num
    return out


def _inside(height: int, width: int, dy: int, dx: int) -> tuple[slice, slice]:
    """Rows and columns of the pixels that a shift reads from inside the image."""
    rows, columns = (slice(max(0, -step), max(0, size - max(0, step))) for size, step in ((height, dy), (width, dx)))
    return rows, columns


def shift_by_pads(image: Tensor, shifts: _Shifts) -> Tensor:
    """The shift without writing in place and without constants that depend on the image size."""
    ends = accumulate(num for num, _, _ in shifts)
    return torch.cat(
        [_move(image[:, end - num : end], dy, dx) for (num, dy, dx), end in zip(shifts, ends, strict=True)], 1
    )


def _move(image: Tensor, dy: int, dx: int) -> Tensor:
    """Add zeros on one side and remove as many rows or columns on the other."""
    padded = F.pad(image, (max(0, -dx), max(0, dx), max(0, -dy), max(0, dy)))
    return padded[:, :, max(0, dy) : min(0, dy) or None, max(0, dx) : min(0, dx) or None]


def shift_by_convolution(image: Tensor, shifts: _Shifts) -> Tensor:
    """The shift as a depthwise convolution of one-hot kernels, equal where all values are finite."""
    offsets = np.array([(dy, dx) for num, dy, dx in shifts for _ in range(num)])
    step = int(np.gcd.reduce(offsets, axis=None)) or 1  # the dilation of the grid, if it is dilated
    reach = int(abs(offsets).max()) // step
    kernels = np.zeros((len(offsets), 1, 2 * reach + 1, 2 * reach + 1), np.float32)
    kernels[np.arange(len(offsets)), 0, *(reach + offsets // step).T] = 1
    # from NumPy, so that exporters see a constant and not its computation
    weight = torch.from_dlpack(kernels).to(image.device, image.dtype)
    return F.conv2d(image, weight, padding=step * reach, dilation=step, groups=len(offsets))
