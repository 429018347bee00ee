"""Conversion of a net's spatial convolutions to shifts and 1x1 convolutions."""

import warnings
from typing import Any

import torch
from torch import nn

from lightning_edge.nn.shift.shift import ShiftConv2d
from lightning_edge.ops.shift import Shift


def convert_to_shifts(module: nn.Module) -> int:
    """Replace spatial convolutions by a shift and a 1x1 convolution, in place.

    This keeps one of every ``kernel_size ** 2`` weights.

    A convolution is replaced if its kernel is square and odd, if it keeps the size of its input at stride 1, and if it
    has at least one input channel for each position of the kernel. So the convolution on the image itself usually
    stays. Each input channel keeps its weight at the position that it is shifted to, scaled to the old variance. The
    result is not equivalent to the original net, but a starting point for training that reuses what was learned.

    Returns:
        The number of replaced convolutions. A warning is given if there are none.
    """
    count = _convert(module)
    if count == 0:
        warnings.warn(f"No convolution of {type(module).__name__} could be replaced by a shift.", stacklevel=2)
    return count


def _convert(module: nn.Module) -> int:
    count = 0
    for name, child in list(module.named_children()):
        if isinstance(child, nn.Conv2d) and _is_replaceable(child):
            setattr(module, name, _shift_and_convolve(child))
            count += 1
        else:
            count += _convert(child)
    return count


def _is_replaceable(conv: nn.Conv2d) -> bool:
    (height, width), (dilation, other_dilation) = conv.kernel_size, conv.dilation
    keeps_size = conv.padding in ("same", (dilation * (height // 2),) * 2)
    is_square = height == width and dilation == other_dilation and height % 2 == 1 and height > 1
    return (
        type(conv) is nn.Conv2d
        and is_square
        and keeps_size
        and conv.padding_mode == "zeros"
        and conv.in_channels >= height * width
    )


def _shift_and_convolve(conv: nn.Conv2d) -> ShiftConv2d:
    size, dilation = conv.kernel_size[0], conv.dilation[0]
    stride: Any = conv.stride
    pointwise = ShiftConv2d(
        conv.in_channels, conv.out_channels, stride, size, dilation, conv.groups, bias=conv.bias is not None
    )
    with torch.no_grad():
        pointwise.weight.copy_(size * _weights_at(conv, pointwise.shifts))
        if conv.bias is not None:
            pointwise.bias.copy_(conv.bias)  # pyright: ignore[reportOptionalMemberAccess]
    pointwise.requires_grad_(conv.weight.requires_grad)
    return pointwise.train(conv.training).to(conv.weight)


def _weights_at(conv: nn.Conv2d, shifts: tuple[Shift, ...]) -> Any:
    """The weight of each input channel at the position that it is shifted to: ``[out, in / groups, 1, 1]``."""
    center, dilation = conv.kernel_size[0] // 2, conv.dilation[0]
    places = [(center + dy // dilation, center + dx // dilation) for num, dy, dx in shifts for _ in range(num)]
    rows, columns = torch.tensor(places).T
    in_group, out_group = conv.in_channels // conv.groups, conv.out_channels // conv.groups
    weight = torch.empty(conv.out_channels, in_group, 1, 1, dtype=conv.weight.dtype, device=conv.weight.device)
    for group in range(conv.groups):
        inputs = slice(group * in_group, (group + 1) * in_group)
        outputs = slice(group * out_group, (group + 1) * out_group)
        channel = torch.arange(in_group)
        weight[outputs, :, 0, 0] = conv.weight[outputs][:, channel, rows[inputs], columns[inputs]]
    return weight
