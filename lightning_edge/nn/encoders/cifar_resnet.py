"""Residual nets for images of 32x32 pixels, and the reduced ones that shift nets are compared with.

Importing this module registers the nets in timm, so that ``timm.create_model("cifar_resnet20")`` works. The source of
the nets is He et al., arXiv:1512.03385, section 4.2, with projections as shortcuts. The source of the reduced and
depthwise nets is Wu et al., arXiv:1711.08141, and its code (https://github.com/alvinwan/shiftresnet-cifar).
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch.nn.functional as F
from jaxtyping import Float
from timm.models import generate_default_cfgs, register_model
from torch import Tensor, nn

from lightning_edge.checks import check_at_least
from lightning_edge.nn.image_classifier import ImageClassifier, build_net

MakeBlock = Callable[[int, int, int], nn.Module]
"""Function that creates a block from its number of input channels, its number of output channels and its stride."""

DEPTHS = (20, 56, 110)
_WIDTHS = (16, 32, 64)
_CIFAR = {
    "num_classes": 10,
    "input_size": (3, 32, 32),
    # mean and standard deviation of the training images of CIFAR-10
    "mean": (0.4914, 0.4822, 0.4465),
    "std": (0.2470, 0.2435, 0.2616),
    "first_conv": "stem.0",
    "classifier": "fc",
}


def cifar_configs(*names: str, pool_size: tuple[int, int] = (8, 8)) -> Any:
    """Configurations that timm needs for CIFAR nets without pretrained weights.

    Args:
        *names: Names of the nets.
        pool_size: Height and width of their last feature map.
    """
    return generate_default_cfgs({f"{name}.untrained": {**_CIFAR, "pool_size": pool_size} for name in names})


class CIFARResNet(ImageClassifier):
    """A stem, three stages with equally many blocks, global average pooling and a linear classifier.

    Args:
        make_block: Function that creates a block from its number of input channels, its number of output channels and
            its stride.
        depth: Number of layers as He et al. count them: two for each block, and two more.
        widths: Numbers of channels of the three stages.
        num_classes: Number of classes; 0 leaves the classifier out.
        in_chans: Number of channels of the image.
        global_pool: See :class:`~lightning_edge.nn.image_classifier.ImageClassifier`.

    Raises:
        ValueError: The depth is not 2 more than a multiple of 6, or ``global_pool`` is unknown.
    """

    def __init__(
        self,
        make_block: MakeBlock,
        depth: int = 20,
        widths: tuple[int, int, int] = _WIDTHS,
        num_classes: int = 10,
        in_chans: int = 3,
        global_pool: str = "avg",
    ) -> None:
        super().__init__(widths[-1], widths[-1], num_classes, in_chans, global_pool)
        num_blocks, rest = divmod(depth - 2, 6)
        if rest or num_blocks < 1:
            raise ValueError(f"expected a depth of 6n + 2, such as 20, 56 or 110, got {depth}")
        self.feature_info = [
            {"num_chs": width, "reduction": 2**index, "module": f"stage{index + 1}"}
            for index, width in enumerate(widths)
        ]
        self.stem = nn.Sequential(conv(in_chans, widths[0], 3), nn.BatchNorm2d(widths[0]), nn.ReLU(inplace=True))
        self.stage1 = _stage(make_block, num_blocks, widths[0], widths[0], 1)
        self.stage2 = _stage(make_block, num_blocks, widths[0], widths[1], 2)
        self.stage3 = _stage(make_block, num_blocks, widths[1], widths[2], 2)
        self.fc = self.make_classifier()
        initialize(self)

    def forward_features(self, image: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch c h w"]:
        """Features of the last stage, at a quarter of the image's size."""
        return self.stage3(self.stage2(self.stage1(self.stem(image))))

    def pool(self, features: Float[Tensor, "batch c h w"]) -> Float[Tensor, "batch c"]:
        """Spatial mean of the features."""
        return features.mean((2, 3))


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with a shortcut. A reduced block has fewer channels between them.

    Args:
        in_channels: Number of channels before the block.
        out_channels: Number of channels after it.
        stride: Stride of the first convolution.
        reduction: Factor by which the number of channels between the convolutions is smaller than ``out_channels``.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1, reduction: float = 1.0) -> None:
        super().__init__()
        check_at_least(1, reduction=reduction)
        middle = int(out_channels / reduction)
        self.residual = nn.Sequential(
            conv(in_channels, middle, 3, stride),
            nn.BatchNorm2d(middle),
            nn.ReLU(inplace=True),
            conv(middle, out_channels, 3),
            nn.BatchNorm2d(out_channels),
        )
        self.shortcut = shortcut(in_channels, out_channels, stride)

    def forward(self, features: Float[Tensor, "batch in_channels h w"]) -> Float[Tensor, "batch out_channels h2 w2"]:
        """Features after the block."""
        return F.relu(self.residual(features) + self.shortcut(features))


class DepthwiseBlock(nn.Module):
    """A depthwise 3x3 convolution between two 1x1 convolutions, with a shortcut. Shift blocks replace it by a shift.

    Args:
        in_channels: Number of channels before the block.
        out_channels: Number of channels after it.
        stride: Stride of the depthwise convolution.
        expansion: Factor by which the number of channels of the depthwise convolution is larger than ``out_channels``.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1, expansion: float = 6.0) -> None:
        super().__init__()
        middle = int(out_channels * expansion)
        self.residual = nn.Sequential(
            conv(in_channels, middle),
            nn.BatchNorm2d(middle),
            nn.ReLU(inplace=True),
            conv(middle, middle, 3, stride, groups=middle),
            nn.BatchNorm2d(middle),
            conv(middle, out_channels),
            nn.BatchNorm2d(out_channels),
        )
        self.shortcut = shortcut(in_channels, out_channels, stride)

    def forward(self, features: Float[Tensor, "batch in_channels h w"]) -> Float[Tensor, "batch out_channels h2 w2"]:
        """Features after the block."""
        return F.relu(self.residual(features) + self.shortcut(features))


def conv(in_channels: int, out_channels: int, kernel_size: int = 1, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    """A convolution without bias that keeps the size of its input at stride 1."""
    return nn.Conv2d(in_channels, out_channels, kernel_size, stride, kernel_size // 2, groups=groups, bias=False)


def shortcut(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """The shortcut of a block: its input, which is projected where the shape changes."""
    if stride == 1 and in_channels == out_channels:
        return nn.Identity()
    return nn.Sequential(conv(in_channels, out_channels, 1, stride), nn.BatchNorm2d(out_channels))


def initialize(net: nn.Module) -> None:
    """Initialize all convolutions by the normal distribution of He et al. (arXiv:1502.01852)."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def _stage(make_block: MakeBlock, num_blocks: int, before: int, width: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        make_block(before, width, stride), *(make_block(width, width, 1) for _ in range(num_blocks - 1))
    )


default_cfgs = cifar_configs(*(f"{kind}{depth}" for kind in ("cifar_resnet", "cifar_dwresnet") for depth in DEPTHS))


@register_model
def cifar_resnet20(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """ResNet-20 for CIFAR. ``block_reduction`` narrows the middle of its blocks, ``net_reduction`` the whole net."""
    return _resnet("cifar_resnet20", 20, pretrained, **kwargs)


@register_model
def cifar_resnet56(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """ResNet-56 for CIFAR, with the same options as ResNet-20."""
    return _resnet("cifar_resnet56", 56, pretrained, **kwargs)


@register_model
def cifar_resnet110(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """ResNet-110 for CIFAR, with the same options as ResNet-20."""
    return _resnet("cifar_resnet110", 110, pretrained, **kwargs)


@register_model
def cifar_dwresnet20(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """ResNet-20 of depthwise blocks, whose middle is ``expansion`` times as wide as its end."""
    return _depthwise("cifar_dwresnet20", 20, pretrained, **kwargs)


@register_model
def cifar_dwresnet56(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """ResNet-56 of depthwise blocks."""
    return _depthwise("cifar_dwresnet56", 56, pretrained, **kwargs)


@register_model
def cifar_dwresnet110(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """ResNet-110 of depthwise blocks."""
    return _depthwise("cifar_dwresnet110", 110, pretrained, **kwargs)


def build_cifar_resnet(name: str, pretrained: bool, **kwargs: Any) -> nn.Module:
    """Build a :class:`CIFARResNet` by timm's builder, which supports ``features_only`` and similar options."""
    return build_net(CIFARResNet, name, pretrained, feature_cfg={"out_indices": (0, 1, 2)}, **kwargs)


def _resnet(
    name: str, depth: int, pretrained: bool, block_reduction: float = 1.0, net_reduction: float = 1.0, **kwargs: Any
) -> nn.Module:
    check_at_least(1, net_reduction=net_reduction)
    widths = tuple(int(width / math.sqrt(net_reduction)) for width in _WIDTHS)
    block = partial(ResidualBlock, reduction=block_reduction)
    return build_cifar_resnet(name, pretrained, make_block=block, depth=depth, widths=widths, **kwargs)


def _depthwise(name: str, depth: int, pretrained: bool, expansion: float = 6.0, **kwargs: Any) -> nn.Module:
    block = partial(DepthwiseBlock, expansion=expansion)
    return build_cifar_resnet(name, pretrained, make_block=block, depth=depth, **kwargs)
