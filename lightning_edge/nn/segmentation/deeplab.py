"""DeepLab: a timm encoder at output stride 8 or 16 with a head of two 1x1 convolutions."""

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
    """The segmentation net of Accel's released code, with any timm encoder.

    It follows the code of arXiv:1807.06667. The encoder keeps its last stages at ``output_stride`` by dilation, and its
    last stage can have deformable convolutions. A 1x1 convolution with ReLU ("fc6") and a 1x1 convolution to the class
    logits follow. The logits are interpolated bilinearly to the size of the image.

    Args:
        encoder: Name of any timm model that supports ``features_only`` and ``output_stride``, including those of
            :mod:`~lightning_edge.nn.encoders.small_resnet`.
        num_classes: Number of classes.
        output_stride: Side of a cell of the features, in pixels of the image: 8 or 16 (32 if the encoder is not
            dilated).
        hidden_channels: Number of channels between the two convolutions of the head (1024 in the paper's ResNet-101).
        weights: Path of a file of encoder weights in timm's format; random weights if ``None``. Nothing is downloaded.
        deformable_groups: Number of offset groups of the deformable convolutions in the encoder's last stage (1 in the
            released code's ResNet-101 and 50, 4 in its ResNet-18 and 34). 0 leaves the stage unchanged.
        freeze_norm: Whether to freeze the statistics and the affine parameters of batch norm. This is for training from
            a pretrained encoder with few images in a batch.
        encoder_options: Further arguments of ``timm.create_model`` for this encoder, such as ``drop_path_rate``.

    Raises:
        ValueError: timm has no such encoder, the encoder has no feature maps of that stride, ``weights`` belong to
            another net, or there is no convolution to deform.
        FileNotFoundError: The file ``weights`` does not exist.
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
                f"expected an encoder with one feature map, of output_stride {output_stride}, got {encoder} with "
                f"encoder_options {encoder_options}, whose feature maps have the strides {strides}"
            )
        self.normalize = Normalize.from_timm(self.encoder)
        if freeze_norm:
            if weights is None:
                warnings.warn(
                    "freeze_norm is set without weights, so untrained batch norm statistics are frozen. Give weights, "
                    "or load a checkpoint later.",
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
    if not deform(modules.get(stage) or modules[stage.replace(".", "_")], groups):  # some timm encoders are flattened
        raise ValueError(
            f"expected an encoder with dense convolutions in its last stage ({stage}) for deformable_groups, got {name}"
        )
