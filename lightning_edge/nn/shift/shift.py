"""Modules that read a pixel's neighborhood by shifting channels instead of spatial convolutions."""

from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from timm.models import register_model
from torch import Tensor, nn

from lightning_edge.nn.encoders.cifar_resnet import DEPTHS, build_cifar_resnet, cifar_configs, conv, shortcut
from lightning_edge.ops.shift import grid_shifts, shift2d, shift_pointwise

# each is one operation of torch.fx, which cannot trace the choice between their implementations
torch.fx.wrap("shift2d")
torch.fx.wrap("shift_pointwise")


class Shift2d(nn.Module):
    """Shifts the channels of a feature map to the positions of a kernel, equally many channels to each.

    Args:
        num_channels: Number of channels of the feature map.
        kernel_size: Number of positions in each direction. It must be odd.
        dilation: Distance between positions, in pixels.
    """

    def __init__(self, num_channels: int, kernel_size: int = 3, dilation: int = 1) -> None:
        super().__init__()
        self.num_channels, self.kernel_size, self.dilation = num_channels, kernel_size, dilation
        self.shifts = grid_shifts(num_channels, kernel_size, dilation)

    def forward(self, image: Float[Tensor, "batch channels h w"]) -> Float[Tensor, "batch channels h w"]:
        """The shifted feature map."""
        return shift2d(image, self.shifts)

    def extra_repr(self) -> str:
        """The main settings, for ``repr``."""
        return f"{self.num_channels}, kernel_size={self.kernel_size}, dilation={self.dilation}"


class ShiftConv2d(nn.Conv2d):
    """A shift of the input followed by a 1x1 convolution. At inference both run as one pass where that is faster.

    Args:
        in_channels: Number of channels that are shifted.
        out_channels: Number of filters of the convolution.
        stride: Stride of the convolution.
        shift_size: Number of positions of the shift in each direction. It must be odd.
        shift_dilation: Distance between positions, in pixels.
        groups: Number of groups of the convolution.
        bias: Whether the convolution has a bias.
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
        """The convolved feature map."""
        if self.stride == (1, 1) and self.groups == 1:
            return shift_pointwise(image, self.shifts, self.weight[..., 0, 0], self.bias)
        return super().forward(shift2d(image, self.shifts))

    def extra_repr(self) -> str:
        """The main settings, for ``repr``."""
        return f"{super().extra_repr()}, shift_size={self.shift_size}, shift_dilation={self.shift_dilation}"


class ShiftBlock(nn.Module):
    """A 1x1 convolution, a shift and a 1x1 convolution with a shortcut, as in the released code for CIFAR.

    Args:
        in_channels: Number of channels before the block.
        out_channels: Number of channels after it.
        stride: Stride of the second convolution.
        expansion: Factor by which the number of shifted channels is larger than ``out_channels``.
        kernel_size: Kernel size of the shift.
        dilation: Dilation of the shift.
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
            raise ValueError(f"expected expansion * out_channels of at least 1, got {expansion} * {out_channels}")
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
