"""Deformable convolutions that replace the convolutions of a net."""

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torchvision.ops import deform_conv2d


class DeformableConv2d(nn.Module):
    """Deformable convolution (Dai et al. 2017, arXiv:1703.06211) that at first equals the convolution it is made from.

    A second convolution, whose weights start at zero, predicts the offset of each kernel tap at each position. The
    result is computed by torchvision, whose operations are not counted by torch's FLOP counter.

    Args:
        conv: Convolution to replace. Its weights are reused.
        groups: Number of offset groups, each for an equal share of the input channels.
    """

    def __init__(self, conv: nn.Conv2d, groups: int = 1) -> None:
        super().__init__()
        if not is_deformable(conv):
            raise ValueError(f"expected a plain dense convolution with zero padding, got {conv}")
        if groups < 1 or conv.in_channels % groups:
            raise ValueError(
                f"expected the number of offset groups to divide the convolution's {conv.in_channels} input channels, "
                f"got {groups}"
            )
        self.weight, self.bias = conv.weight, conv.bias
        self._geometry: dict[str, Any] = {name: getattr(conv, name) for name in ("stride", "padding", "dilation")}
        kernel: Any = conv.kernel_size
        self.offset = nn.Conv2d(conv.in_channels, 2 * groups * math.prod(kernel), kernel, **self._geometry)
        nn.init.zeros_(self.offset.weight)
        nn.init.zeros_(self.offset.bias)  # pyright: ignore[reportArgumentType]

    def forward(self, features: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch filters h w"]:
        """Convolve at the predicted offsets."""
        offset = self.offset(features)
        wide = torch.promote_types(features.dtype, torch.float32)  # half precision is too coarse for coordinates
        bias = None if self.bias is None else self.bias.to(wide)
        with torch.autocast(features.device.type, enabled=False):
            result = deform_conv2d(features.to(wide), offset.to(wide), self.weight.to(wide), bias, **self._geometry)
        return result.to(offset.dtype)


def is_deformable(conv: nn.Conv2d) -> bool:
    """Whether a convolution is a plain ``nn.Conv2d`` without groups and with zero padding."""
    is_plain = type(conv) is nn.Conv2d and not isinstance(conv.padding, str)
    return is_plain and conv.groups == 1 and conv.padding_mode == "zeros"


def deform(module: nn.Module, groups: int = 1) -> int:
    """Make every plain, dense convolution of ``module`` with a kernel larger than 1 deformable, in place.

    Returns:
        The number of converted convolutions.
    """
    count = 0
    for name, child in list(module.named_children()):
        if isinstance(child, nn.Conv2d) and max(child.kernel_size) > 1 and is_deformable(child):
            setattr(module, name, DeformableConv2d(child, groups))
            count += 1
        else:
            count += deform(child, groups)
    return count
