"""Modules that look at a pixel's neighborhood by shifting channels, in place of spatial convolutions."""

from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from timm.models import register_model
from torch import Tensor, nn

from lightning_edge.nn.encoders.cifar_resnet import DEPTHS, build_cifar_resnet, cifar_configs, conv, shortcut
from lightning_edge.ops.shift import grid_shifts, shift2d, shift_pointwise

# one operation each to torch.fx, which cannot trace the choice between their fast ways
torch.fx.wrap("shift2d")
torch.fx.wrap("shift_pointwise")


class Shift2d(nn.Module):
    """Shift the channels of a picture to the places of a kernel, equally many to each.

    Args:
        num_channels: Channels of the picture.
        kernel_size: Places in each direction, odd.
        dilation: Pixels from place to place.
    """

    def __init__(self, num_channels: int, kernel_size: int = 3, dilation: int = 1) -> None:
        super().__init__()
        self.num_channels, self.kernel_size, self.dilation = num_channels, kernel_size, dilation
        self.shifts = grid_shifts(num_channels, kernel_size, dilation)

    def forward(self, image: Float[Tensor, "batch channels h w"]) -> Float[Tensor, "batch channels h w"]:
        """The shifted picture."""
        return shift2d(image, self.shifts)

    def extra_repr(self) -> str:
        """What tells one from another."""
        return f"{self.num_channels}, kernel_size={self.kernel_size}, dilation={self.dilation}"


class ShiftConv2d(nn.Conv2d):
    """A shift of the input and the 1x1 convolution that follows, at inference in one pass where that is faster.

    Args:
        in_channels: Channels that are shifted.
        out_channels: Filters of the convolution.
        stride: Of the convolution.
        shift_size: Places of the shift in each direction, odd.
        shift_dilation: Pixels from place to place.
        groups: Of the convolution.
        bias: Of the convolution.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int | tuple[int, int] = 1,
        shift_size: int = 3,
        shift_dilation: int = 1,
        groups: int = 1,
        bias: bool = False,
    ) -> None:
        super().__init__(in_channels, out_channels, 1, stride, groups=groups, bias=bias)
        self.shifts = grid_shifts(in_channels, shift_size, shift_dilation)
        self.shift_size, self.shift_dilation = shift_size, shift_dilation

    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, image: Float[Tensor, "batch in_channels h w"]
    ) -> Float[Tensor, "batch out_channels h2 w2"]:
        """The convolved picture."""
        if self.stride == (1, 1) and self.groups == 1:
            return shift_pointwise(image, self.shifts, self.weight[..., 0, 0], self.bias)
        return super().forward(shift2d(image, self.shifts))

    def extra_repr(self) -> str:
        """What tells one from another."""
        return f"{super().extra_repr()}, shift_size={self.shift_size}, shift_dilation={self.shift_dilation}"


class ShiftBlock(nn.Module):
    """1x1 convolution, shift, 1x1 convolution beside a shortcut, for CIFAR: as in the released code.

    Args:
        in_channels: Channels before the block.
        out_channels: Channels after it.
        stride: Of the second convolution.
        expansion: By how much the middle has more channels than the end.
        kernel_size: Of the shift.
        dilation: Of the shift.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int = 1,
        expansion: float = 6.0,
        kernel_size: int = 3,
        dilation: int = 1,
    ) -> None:
        super().__init__()
        middle = int(out_channels * expansion)
        if middle < 1:
            raise ValueError(f"expected expansion to leave channels, got {expansion} of {out_channels}")
        self.residual = nn.Sequential(
            conv(in_channels, middle),
            nn.BatchNorm2d(middle),
            nn.ReLU(inplace=True),
            ShiftConv2d(middle, out_channels, stride, kernel_size, dilation),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
        )
        self.shortcut = shortcut(in_channels, out_channels, stride)

    def forward(self, features: Float[Tensor, "batch in_channels h w"]) -> Float[Tensor, "batch out_channels h2 w2"]:
        """Features after the block."""
        return self.residual(features) + self.shortcut(features)


default_cfgs = cifar_configs(*(f"shiftresnet{depth}" for depth in DEPTHS))


@register_model
def shiftresnet20(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """ResNet-20 of shift blocks, whose middle is ``expansion`` times as wide as its end."""
    return _shiftresnet("shiftresnet20", 20, pretrained, **kwargs)


@register_model
def shiftresnet56(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """ResNet-56 of shift blocks."""
    return _shiftresnet("shiftresnet56", 56, pretrained, **kwargs)


@register_model
def shiftresnet110(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """ResNet-110 of shift blocks."""
    return _shiftresnet("shiftresnet110", 110, pretrained, **kwargs)


def _shiftresnet(name: str, depth: int, pretrained: bool, expansion: float = 6.0, **kwargs: Any) -> nn.Module:
    block = partial(ShiftBlock, expansion=expansion)
    return build_cifar_resnet(name, pretrained, make_block=block, depth=depth, **kwargs)
