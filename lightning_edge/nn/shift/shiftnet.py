"""ShiftNet-A, B and C for ImageNet-sized images. With timm's ``features_only`` they are encoders.

Source: Wu et al., arXiv:1711.08141, table 5. Numbers of parameters and operations are those of the paper. The authors
released no code of these nets. How a block reduces the resolution, by a stride of its second convolution beside a
pooled copy of its input, is taken from a third party's ShiftNet-A, whose counts agree. Of ShiftNet-C only the number of
parameters (0.78 million) is known. That its groups have 2, 4, 4 and 2 modules is a guess that matches this number.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from timm.models import generate_default_cfgs, register_model
from torch import Tensor, nn

from lightning_edge.nn.encoders.cifar_resnet import conv, initialize
from lightning_edge.nn.image_classifier import ImageClassifier, build_net
from lightning_edge.nn.shift.shift import Shift2d, ShiftConv2d


class ShiftModule(nn.Module, ABC):
    """Combines its input with the features that a chain of 1x1 convolutions and shifts computes from it.

    If the number of channels grows, the new features are concatenated to the input; otherwise they are added to it.
    With a stride, the input is average-pooled.

    Args:
        in_channels: Number of channels before the module.
        out_channels: Number of channels after the module. It must be at least ``in_channels``.
        stride: Stride of the last convolution.
        expansion: Factor by which the number of channels inside the chain is larger than ``in_channels``.
        kernel_size: Kernel size of the shifts.
        dilation: Dilation of the shifts.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int = 1,
        expansion: float = 4.0,
        kernel_size: int = 3,
        dilation: int = 1,
    ) -> None:
        super().__init__()
        if out_channels < in_channels:
            raise ValueError(f"expected out_channels of at least in_channels ({in_channels}), got {out_channels}")
        self.stride = stride
        self.concatenates = out_channels > in_channels
        new_channels = out_channels - in_channels if self.concatenates else out_channels
        middle = int(expansion * in_channels)
        channels = in_channels, middle, new_channels
        self.residual = nn.Sequential(*_activation(in_channels), *self.chain(channels, stride, kernel_size, dilation))

    @abstractmethod
    def chain(
        self, channels: tuple[int, int, int], stride: int, kernel_size: int, dilation: int
    ) -> Iterable[nn.Module]:
        """The layers that follow the first activation.

        Args:
            channels: Numbers of channels before, inside and after the chain.
            stride: Stride of the last convolution.
            kernel_size: Kernel size of the shifts.
            dilation: Dilation of the shifts.
        """

    def forward(self, features: Float[Tensor, "batch in_channels h w"]) -> Float[Tensor, "batch out_channels h2 w2"]:
        """Features after the module."""
        new = self.residual(features)
        if self.stride > 1:
            features = F.avg_pool2d(features, self.stride, ceil_mode=True, count_include_pad=False)
        return torch.cat((features, new), 1) if self.concatenates else features + new


class CSC(ShiftModule):
    """Convolution, shift, convolution: the module of the paper's nets."""

    def chain(
        self, channels: tuple[int, int, int], stride: int, kernel_size: int, dilation: int
    ) -> Iterable[nn.Module]:
        """Convolution, shift, activation, convolution."""
        before, middle, after = channels
        shift = Shift2d(middle, kernel_size, dilation)
        return conv(before, middle), shift, *_activation(middle), conv(middle, after, 1, stride)


class SC2(ShiftModule):
    """Shift and convolution, twice: a larger receptive field than :class:`CSC`, and the input is shifted too."""

    def chain(
        self, channels: tuple[int, int, int], stride: int, kernel_size: int, dilation: int
    ) -> Iterable[nn.Module]:
        """Shift and convolution, activation, shift and convolution."""
        before, middle, after = channels
        first = ShiftConv2d(before, middle, 1, kernel_size, dilation)
        return first, *_activation(middle), ShiftConv2d(middle, after, stride, kernel_size, dilation)


class ShiftNet(ImageClassifier):
    """A 7x7 convolution, four groups of shift modules, global average pooling and a linear classifier.

    Args:
        stem_channels: Number of channels of the first convolution. Each group has twice as many as the one before it.
        num_modules: Number of modules of each group.
        expansions: For each group, the expansion of its first module and of its other modules.
        kernel_sizes: Kernel size of the shifts of each group.
        num_classes: Number of classes; 0 leaves the classifier out.
        in_chans: Number of channels of the image.
        output_stride: Side of a cell of the last features, in pixels of the image: 32, 16 or 8. For 16 and 8 the shifts
            of the last groups are dilated.
        make_module: Class of the modules, :class:`CSC` or :class:`SC2`.
        global_pool: See :class:`~lightning_edge.nn.image_classifier.ImageClassifier`.
    """

    def __init__(
        self,
        stem_channels: int = 32,
        num_modules: Sequence[int] = (5, 6, 7, 3),
        expansions: Sequence[tuple[float, float]] = ((4, 4), (4, 3), (3, 2), (2, 1)),
        kernel_sizes: Sequence[int] = (5, 5, 3, 3),
        num_classes: int = 1000,
        in_chans: int = 3,
        output_stride: int = 32,
        make_module: Callable[..., ShiftModule] = CSC,
        global_pool: str = "avg",
    ) -> None:
        num_features = stem_channels * 2 ** len(num_modules)
        super().__init__(num_features, num_features, num_classes, in_chans, global_pool)
        if output_stride not in (8, 16, 32):
            raise ValueError(f"expected output_stride of 8, 16 or 32, got {output_stride}")
        self.stem = conv(in_chans, stem_channels, 7, stride=2)
        self.feature_info = [{"num_chs": stem_channels, "reduction": 2, "module": "stem"}]
        groups: list[nn.Module] = []
        channels, reduction = stem_channels, 2
        for num, (first, rest), kernel_size in zip(num_modules, expansions, kernel_sizes, strict=True):
            stride = 2 if reduction < output_stride else 1
            reduction *= stride
            dilation = 2 ** (len(groups) + 2) // reduction
            make = partial(make_module, kernel_size=kernel_size, dilation=dilation)
            others = [make(2 * channels, 2 * channels, expansion=rest) for _ in range(num - 1)]
            groups.append(nn.Sequential(make(channels, 2 * channels, stride, expansion=first), *others))
            channels *= 2
            self.feature_info.append({"num_chs": channels, "reduction": reduction, "module": f"group{len(groups)}"})
        self.group1, self.group2, self.group3, self.group4 = groups
        self.norm = nn.Sequential(*_activation(channels))
        self.fc = self.make_classifier()
        initialize(self)

    def forward_features(self, image: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch c h w"]:
        """Features after the last group, normalized."""
        return self.norm(self.group4(self.group3(self.group2(self.group1(self.stem(image))))))

    def pool(self, features: Float[Tensor, "batch c h w"]) -> Float[Tensor, "batch c"]:
        """Spatial mean of the features."""
        return features.mean((2, 3))


def _activation(num_channels: int) -> tuple[nn.Module, nn.Module]:
    return nn.BatchNorm2d(num_channels), nn.ReLU(inplace=True)


default_cfgs = generate_default_cfgs(
    {
        f"{name}.untrained": {
            "num_classes": 1000,
            "input_size": (3, 224, 224),
            "pool_size": (7, 7),
            "first_conv": "stem",
            "classifier": "fc",
        }
        for name in ("shiftnet_a", "shiftnet_b", "shiftnet_c")
    }
)


@register_model
def shiftnet_a(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """4.2 million parameters, 1.4 billion multiplications of a 224x224 image."""
    return _shiftnet("shiftnet_a", pretrained, **kwargs)


@register_model
def shiftnet_b(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """Half of the channels of ShiftNet-A: 1.2 million parameters, 371 million multiplications."""
    return _shiftnet("shiftnet_b", pretrained, stem_channels=16, **kwargs)


@register_model
def shiftnet_c(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """ShiftNet-B with fewer modules: 0.78 million parameters."""
    return _shiftnet("shiftnet_c", pretrained, stem_channels=16, num_modules=(2, 4, 4, 2), **kwargs)


def _shiftnet(name: str, pretrained: bool, **kwargs: Any) -> nn.Module:
    return build_net(ShiftNet, name, pretrained, feature_cfg={"out_indices": (0, 1, 2, 3, 4)}, **kwargs)
