"""DeepLab: a timm encoder at output stride 8 or 16 under a head of two 1x1 convolutions."""

import warnings
from typing import Any

from jaxtyping import Float
from timm.layers import freeze_batch_norm_2d  # pyright: ignore[reportPrivateImportUsage]
from torch import Tensor, nn

from lightning_edge.nn.encoders.normalize import Normalize
from lightning_edge.nn.encoders.timm_encoder import feature_maps, make_encoder
from lightning_edge.nn.segmentation.branch import SegmentationBranch
from lightning_edge.nn.segmentation.deformable import deform


class DeepLab(SegmentationBranch):
    """The branch of Accel's released code, over any timm encoder.

    After the code of arXiv:1807.06667: the encoder keeps its last stages at ``output_stride`` by dilation, and the last
    one may have deformable convolutions; a 1x1 convolution with ReLU follows ("fc6") and a 1x1 convolution scores the
    classes; the scores are interpolated bilinearly to the size of the image.

    Args:
        encoder: Name of any timm model that supports ``features_only`` and ``output_stride``, those of
            :mod:`~lightning_edge.nn.encoders.small_resnet` among them.
        num_classes: Channels of the scores.
        output_stride: Pixels of the image to a cell of the features: 8 or 16 (32 if the encoder is not dilated).
        hidden_channels: Channels between the two convolutions of the head (1024 in the paper's ResNet-101).
        weights: File of encoder weights in timm's format; ``None`` starts from random ones. Nothing is downloaded.
        deformable_groups: Sets of displacements of the deformable convolutions in the encoder's last stage (1 in the
            released code's ResNet-101 and 50, 4 in its ResNet-18 and 34); 0 leaves the stage as it is.
        freeze_norm: Hold statistics and factors of batch norm as they are, for training from a pretrained encoder with
            few images in a batch.
        encoder_options: What else ``timm.create_model`` takes for this encoder, such as ``drop_path_rate``.

    Raises:
        ValueError: if timm has no such encoder, it has no feature maps at such a stride, ``weights`` are those of
            another net, or there is no convolution to deform.
        FileNotFoundError: if there is no file ``weights``.
    """

    def __init__(
        self,
        encoder: str,
        num_classes: int,
        output_stride: int = 16,
        hidden_channels: int = 256,
        weights: str | None = None,
        deformable_groups: int = 0,
        freeze_norm: bool = False,
        encoder_options: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        options = {"out_indices": (-1,), "output_stride": output_stride, **(encoder_options or {})}
        self.encoder = make_encoder(encoder, weights, options)
        strides: list[int] = self.encoder.feature_info.reduction()  # pyright: ignore
        if strides != [output_stride]:
            raise ValueError(
                f"expected an encoder with one map, of the output_stride {output_stride}, got {encoder} with "
                f"encoder_options {encoder_options}, whose maps have the strides {strides}"
            )
        self.normalize = Normalize.of_timm(self.encoder)
        if freeze_norm:
            if weights is None:
                warnings.warn(
                    "freeze_norm without weights holds statistics that no training made: expected weights, or a "
                    "checkpoint that is loaded later",
                    stacklevel=2,
                )
            self.encoder = freeze_batch_norm_2d(self.encoder)
        if deformable_groups:
            _deform_last_stage(self.encoder, encoder, deformable_groups)
        self.feature_channels: int = self.encoder.feature_info.channels()[-1]  # pyright: ignore
        self.head = nn.Sequential(
            nn.Conv2d(self.feature_channels, hidden_channels, 1), nn.ReLU(), nn.Conv2d(hidden_channels, num_classes, 1)
        )

    def features(self, image: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch channels h w"]:
        """Features of images in [0, 1], at ``1 / output_stride`` of their size."""
        return feature_maps(self.encoder, self.normalize(image))[0]


def _deform_last_stage(encoder: nn.Module, name: str, groups: int) -> None:
    stage: str = encoder.feature_info.module_name()[-1]  # pyright: ignore
    modules = dict(encoder.named_modules())
    if not deform(modules.get(stage) or modules[stage.replace(".", "_")], groups):  # some of timm's are flattened
        raise ValueError(
            f"expected an encoder with dense convolutions in its last stage ({stage}) for deformable_groups, got {name}"
        )
