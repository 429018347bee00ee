"""Encoders of timm as the backbones that torchvision's detectors take."""

from collections import OrderedDict

from jaxtyping import Float
from torch import Tensor, nn
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool, LastLevelP6P7

import lightning_edge.nn.small_resnet  # noqa: F401 (gives timm their names)
from lightning_edge.nn.normalize import Normalize
from lightning_edge.nn.timm_models import load_timm_features, make_timm_model

_GROUP_SIZE = 32
"""Groups of the norms of a pyramid (Wu and He, arXiv:1803.08494)."""


class TimmBackbone(nn.Module):
    """Feature maps of a timm encoder at some strides, without a pyramid where there is only one.

    Several maps become a feature pyramid (arXiv:1612.03144), with coarser levels on top as the detectors want them.

    Args:
        encoder: Name of any timm model that supports ``features_only``, those of
            :mod:`~lightning_edge.nn.small_resnet` among them.
        strides: Pixels of the image to a cell of each map, finest first; those of one- and two-stage detectors in the
            literature are (8, 16, 32) and (4, 8, 16, 32).
        channels: Of the maps of a pyramid; a single map keeps the encoder's.
        has_group_norm: Whether the pyramid's convolutions have group norm, as for training from random weights.
        weights: File of encoder weights in timm's format; ``None`` starts from random ones. Nothing is downloaded.

    Raises:
        ValueError: timm has no such encoder, it has no stages of these strides, or ``weights`` lacks some.
        FileNotFoundError: There is no file ``weights``.
    """

    def __init__(
        self,
        encoder: str,
        strides: tuple[int, ...] = (4, 8, 16, 32),
        channels: int = 256,
        has_group_norm: bool = False,
        weights: str | None = None,
    ) -> None:
        super().__init__()
        of_encoder = make_timm_model("encoder", encoder, {"features_only": True}).feature_info
        if not strides or not set(strides) <= set(of_encoder.reduction()):  # pyright: ignore
            raise ValueError(f"expected strides among those of {encoder}, {of_encoder.reduction()}, got {strides}")  # pyright: ignore
        indices = tuple(of_encoder.reduction().index(stride) for stride in sorted(strides))  # pyright: ignore
        options = {"features_only": True, "out_indices": indices}
        if weights is None:
            self.encoder = make_timm_model("encoder", encoder, options)
        else:
            self.encoder = load_timm_features("encoder", encoder, weights, options)
        self.normalize = Normalize.of_timm(self.encoder)
        self.strides = tuple(sorted(strides))
        widths: list[int] = self.encoder.feature_info.channels()  # pyright: ignore
        self.out_channels = widths[0] if len(widths) == 1 else channels
        self.pyramid = None
        if len(widths) > 1:
            # from stride 8 on as in RetinaNet and FCOS, from 4 on as in Faster R-CNN
            top = LastLevelMaxPool() if self.strides[0] < 8 else LastLevelP6P7(channels, channels)
            norm = (lambda width: nn.GroupNorm(_GROUP_SIZE, width)) if has_group_norm else None
            self.pyramid = FeaturePyramidNetwork(widths, channels, top, norm)
        self.num_levels = len(widths) + (0 if self.pyramid is None else 1 if self.strides[0] < 8 else 2)

    def forward(self, image: Float[Tensor, "batch 3 height width"]) -> dict[str, Float[Tensor, "batch channels _ _"]]:
        """Maps of images in [0, 1], finest first."""
        features = self.encoder(self.normalize(image))
        named = OrderedDict((str(level), feature) for level, feature in enumerate(features))
        return named if self.pyramid is None else self.pyramid(named)
