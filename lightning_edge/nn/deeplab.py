"""DeepLab: a timm encoder at output stride 8 or 16 under a head of two 1x1 convolutions."""

import difflib
from pathlib import Path
from typing import Any

import timm
from jaxtyping import Float
from torch import Tensor, nn

import lightning_edge.nn.small_resnet  # noqa: F401 (gives timm their names)
from lightning_edge.nn.branch import SegmentationBranch
from lightning_edge.nn.normalize import Normalize


class DeepLab(SegmentationBranch):
    """The branch of Accel's released code, over any timm encoder.

    After the code of arXiv:1807.06667, without its deformable convolutions: the encoder keeps its last stages at
    ``output_stride`` by dilation, a 1x1 convolution with ReLU follows ("fc6") and a 1x1 convolution scores the classes;
    the scores are interpolated bilinearly to the size of the image.

    Args:
        encoder: Name of any timm model that supports ``features_only`` and ``output_stride``, those of
            :mod:`~lightning_edge.nn.small_resnet` among them.
        num_classes: Channels of the scores.
        output_stride: Pixels of the image to a cell of the features: 8 or 16 (32 if the encoder is not dilated).
        hidden_channels: Channels between the two convolutions of the head (1024 in the paper's ResNet-101).
        weights: File of encoder weights in timm's format; ``None`` starts from random ones. Nothing is downloaded.
        encoder_options: What else ``timm.create_model`` takes for this encoder, such as ``drop_path_rate``.

    Raises:
        ValueError: if timm has no such encoder, or it has no feature maps at such a stride.
    """

    def __init__(
        self,
        encoder: str,
        num_classes: int,
        output_stride: int = 16,
        hidden_channels: int = 256,
        weights: str | None = None,
        encoder_options: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.encoder = _make_encoder(encoder, output_stride, weights, encoder_options or {})
        self.normalize = Normalize.of_timm(self.encoder)
        self.feature_channels: int = self.encoder.feature_info.channels()[-1]  # pyright: ignore
        self.head = nn.Sequential(
            nn.Conv2d(self.feature_channels, hidden_channels, 1), nn.ReLU(), nn.Conv2d(hidden_channels, num_classes, 1)
        )

    def features(self, image: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch channels h w"]:
        """Features of images in [0, 1], at ``1 / output_stride`` of their size."""
        return self.encoder(self.normalize(image))[0]


def _make_encoder(name: str, output_stride: int, weights: str | None, options: dict[str, Any]) -> nn.Module:
    if not timm.is_model(name):
        close = difflib.get_close_matches(name, timm.list_models(), n=3)
        raise ValueError(f"expected encoder to be a timm model{f', such as {close}' if close else ''}, got {name!r}")
    if weights is not None and not Path(weights).is_file():
        raise FileNotFoundError(f"expected weights to be a file of encoder weights, got {weights}")
    try:
        return timm.create_model(
            name,
            features_only=True,
            out_indices=(-1,),
            output_stride=output_stride,
            pretrained=weights is not None,
            pretrained_cfg_overlay={"file": weights} if weights is not None else None,
            **options,
        )
    except (AssertionError, TypeError) as error:
        raise ValueError(
            f"expected encoder to be a timm model that takes features_only, output_stride={output_stride} and "
            f"encoder_options {options}, got {name!r}: {str(error) or 'it does not'}"
        ) from error
