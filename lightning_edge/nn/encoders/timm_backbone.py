"""Timm encoders as backbones of torchvision's detectors."""

import math
from collections import OrderedDict
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool, LastLevelP6P7

from lightning_edge.nn.encoders.normalize import Normalize
from lightning_edge.nn.encoders.timm_encoder import feature_maps, make_encoder

_GROUP_SIZE = 32
"""Number of groups of a pyramid's group norms (Wu and He, arXiv:1803.08494)."""


class TimmBackbone(nn.Module):
    """Feature maps of a timm encoder at given strides, with a feature pyramid if there are several maps.

    The pyramid (arXiv:1612.03144) has additional coarser levels on top, which the detectors need.

    Args:
        encoder: Name of any timm model that supports ``features_only``, including those of
            :mod:`~lightning_edge.nn.encoders.small_resnet`.
        strides: Side of a cell of each map, in pixels of the image, finest first. In the literature one-stage detectors
            use (8, 16, 32) and two-stage detectors (4, 8, 16, 32). If several maps have the same stride, the deepest is
            taken.
        channels: Number of channels of the pyramid's maps. A single map keeps the number of the encoder.
        has_group_norm: Whether the pyramid's convolutions have group norm, which helps when training from random
            weights.
        weights: Path of a file of encoder weights in timm's format; random weights if ``None``. Nothing is downloaded.
        encoder_options: Further arguments of ``timm.create_model`` for this encoder, such as ``img_size`` for an
            encoder that takes images of one size only.

    Raises:
        ValueError: timm has no such encoder, the encoder has no maps of these strides, or ``weights`` belong to another
            net.
        FileNotFoundError: The file ``weights`` does not exist.
    """

    def __init__(
        self,
        encoder: str,
        strides: tuple[int, ...] = (4, 8, 16, 32),
        channels: int = 256,
        has_group_norm: bool = False,
        weights: str | None = None,
        encoder_options: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        options, self.strides = encoder_options or {}, tuple(sorted(strides))
        info: Any = make_encoder(encoder, None, options).feature_info
        # all maps, not only the default ones, because timm's indices count all; of equal strides the last map wins
        index_of = {stride: index for index, stride in enumerate(info.reduction(list(range(len(info)))))}
        if not strides or not set(strides) <= set(index_of) or len(set(strides)) < len(strides):
            raise ValueError(f"expected different strides among {list(index_of)} for {encoder}, got {strides}")
        indices = tuple(index_of[stride] for stride in self.strides)
        self.encoder = make_encoder(encoder, weights, {**options, "out_indices": indices})
        _check_strides(self.encoder, encoder, self.strides)
        self.normalize = Normalize.from_timm(self.encoder)
        widths: list[int] = self.encoder.feature_info.channels()  # pyright: ignore
        self.out_channels = widths[0] if len(widths) == 1 else channels
        self.pyramid = None
        if len(widths) > 1:
            # strides from 8 as in RetinaNet and FCOS, from 4 as in Faster R-CNN
            top = LastLevelMaxPool() if self.strides[0] < 8 else LastLevelP6P7(channels, channels)
            norm = (lambda width: nn.GroupNorm(_GROUP_SIZE, width)) if has_group_norm else None
            self.pyramid = FeaturePyramidNetwork(widths, channels, top, norm)
        self.num_levels = len(widths) + (0 if self.pyramid is None else 1 if self.strides[0] < 8 else 2)

    def forward(self, image: Float[Tensor, "batch 3 height width"]) -> dict[str, Float[Tensor, "batch channels _ _"]]:
        """Feature maps of images in [0, 1], finest first."""
        features = feature_maps(self.encoder, self.normalize(image))
        named = OrderedDict((str(level), feature) for level, feature in enumerate(features))
        return named if self.pyramid is None else self.pyramid(named)


@torch.no_grad()
def _check_strides(encoder: nn.Module, name: str, strides: tuple[int, ...]) -> None:
    """Check the strides of an encoder by timm's description and by the feature maps of one image."""
    info: Any = encoder.feature_info
    size: tuple[int, int] = encoder.pretrained_cfg["input_size"][1:]  # pyright: ignore
    sizes = [tuple(features.shape[-2:]) for features in feature_maps(encoder.eval(), torch.zeros(1, 3, *size))]
    encoder.train()
    if tuple(info.reduction()) != strides or not all(map(_has_stride, [size] * len(sizes), sizes, strides)):
        raise ValueError(
            f"expected an encoder with maps of the strides {strides}, got {name}, whose maps have the strides "
            f"{info.reduction()} by its description and {sizes} cells for an image of {size[0]} x {size[1]} pixels"
        )


def _has_stride(image_size: tuple[int, int], map_size: tuple[int, ...], stride: int) -> bool:
    """Whether a map has about one cell for each stride. Convolutions without padding omit the border."""
    return len(map_size) == 2 and all(
        pixels / (2 * stride) < cells <= math.ceil(pixels / stride) + 1
        for pixels, cells in zip(image_size, map_size, strict=True)
    )
