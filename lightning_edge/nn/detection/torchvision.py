"""The detectors of torchvision, on any backbone."""

from abc import ABC
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn
from torchvision.models.detection import FCOS, FasterRCNN, RetinaNet
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.generalized_rcnn import GeneralizedRCNN
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.models.detection.rpn import RegionProposalNetwork
from torchvision.models.detection.transform import GeneralizedRCNNTransform
from torchvision.ops import MultiScaleRoIAlign
from typing_extensions import override

from lightning_edge.contracts import DetectionBatch, Detections
from lightning_edge.module_modes import restored_modes
from lightning_edge.nn.encoders.timm_backbone import TimmBackbone

_ASPECT_RATIOS = (0.5, 1.0, 2.0)
_WITH_TARGETS = (FCOS, RetinaNet, GeneralizedRCNN, RegionProposalNetwork, RoIHeads)
"""Parts that need labels in training mode, and return losses."""


class _Identity(GeneralizedRCNNTransform):
    """Leaves images as they are, because they are already scaled and padded, and the backbone normalizes them."""

    def __init__(self) -> None:
        super().__init__(0, 0, image_mean=[0.0, 0.0, 0.0], image_std=[1.0, 1.0, 1.0], size_divisible=1)

    @override
    def resize(self, image: Tensor, target: Any = None) -> Any:
        # torchvision's own option _skip_resize has no effect in evaluation mode
        return image, target


class TorchvisionDetector(nn.Module, ABC):
    """Base of wrappers that adapt a torchvision detector to the batches and detections of this package.

    The losses do not take ignored regions into account, because torchvision does not support them.
    """

    detector: nn.Module
    num_classes: int
    first_label: int = 0
    """Index of the first class in the detector; 1 if index 0 is the background."""

    @property
    def backbone(self) -> TimmBackbone:
        """The backbone of the detector."""
        return self.detector.backbone  # pyright: ignore

    def forward(self, image: Float[Tensor, "batch 3 height width"]) -> list[dict[str, Tensor]]:
        """Output of the torchvision detector for images in [0, 1]."""
        return self.detector(list(image))

    def losses(self, batch: DetectionBatch) -> dict[str, Tensor]:
        """The losses of the torchvision detector, by their names.

        Raises:
            ValueError: The detector is in evaluation mode, in which torchvision returns detections instead of losses.
        """
        if not self.training:
            raise ValueError("expected a detector in training mode for losses, got evaluation mode: call train()")
        targets = [
            {"boxes": boxes, "labels": label + self.first_label}
            for boxes, label in zip(batch["boxes_xyxy"], batch["label"], strict=True)
        ]
        return self.detector(list(batch["image"]), targets)

    def detect(self, image: Float[Tensor, "batch 3 height width"]) -> list[Detections]:
        """Detections in each image, for images in [0, 1]. In training mode too, where layers run as in training."""
        with restored_modes(self.detector):
            for part in self.detector.modules():
                if isinstance(part, _WITH_TARGETS):
                    part.training = False
            outputs = self(image)
        return [
            Detections(output["boxes"], output["scores"], output["labels"] - self.first_label) for output in outputs
        ]


class FCOSDetector(TorchvisionDetector):
    """FCOS (arXiv:1904.01355).

    Args:
        backbone: Backbone of the detector. The paper uses the strides 8, 16 and 32.
        num_classes: Number of classes, without the background.
        max_detections: Largest number of boxes in an image.
    """

    def __init__(self, backbone: TimmBackbone, num_classes: int, max_detections: int = 100) -> None:
        super().__init__()
        self.num_classes = num_classes
        sizes = tuple((stride,) for stride in _level_strides(backbone))  # in FCOS an anchor is a cell
        anchors = AnchorGenerator(sizes, ((1.0,),) * len(sizes))
        self.detector = FCOS(backbone, num_classes, anchor_generator=anchors, detections_per_img=max_detections)
        self.detector.transform = _Identity()


class RetinaNetDetector(TorchvisionDetector):
    """RetinaNet (arXiv:1708.02002).

    Args:
        backbone: Backbone of the detector. The paper uses the strides 8, 16 and 32.
        num_classes: Number of classes, without the background.
        anchor_scale: Side of the smallest anchor of a level, in cells; 4 in the paper. Each level has two more anchors,
            which are 2^(1/3) and 2^(2/3) times as large.
        max_detections: Largest number of boxes in an image.
    """

    def __init__(
        self, backbone: TimmBackbone, num_classes: int, anchor_scale: float = 4.0, max_detections: int = 100
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        sizes = tuple(
            tuple(round(stride * anchor_scale * 2 ** (third / 3)) for third in range(3))
            for stride in _level_strides(backbone)
        )
        anchors = AnchorGenerator(sizes, (_ASPECT_RATIOS,) * len(sizes))
        self.detector = RetinaNet(backbone, num_classes, anchor_generator=anchors, detections_per_img=max_detections)
        self.detector.transform = _Identity()


class FasterRCNNDetector(TorchvisionDetector):
    """Faster R-CNN (arXiv:1506.01497), with a pyramid (arXiv:1612.03144) or on a single map.

    Args:
        backbone: Backbone of the detector. Usual strides are 4, 8, 16 and 32 for a pyramid, and 16 for a single map.
        num_classes: Number of classes, without the background.
        anchor_sizes: Sides of the anchors, in pixels. A pyramid takes one for each level; a single map uses all of
            them. ``None`` is 8 cells of each level for a pyramid, and 32 to 512 pixels for a single map.
        pool_cells: Number of cells in each direction to which a box is pooled.
        max_detections: Largest number of boxes in an image.
        detector_options: Further arguments of torchvision's ``FasterRCNN``, such as ``rpn_pre_nms_top_n_train``.
    """

    first_label = 1

    def __init__(
        self,
        backbone: TimmBackbone,
        num_classes: int,
        anchor_sizes: tuple[int, ...] | None = None,
        pool_cells: int = 7,
        max_detections: int = 100,
        detector_options: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        strides = _level_strides(backbone)
        if anchor_sizes is None:
            anchor_sizes = (32, 64, 128, 256, 512) if len(strides) == 1 else tuple(8 * stride for stride in strides)
        if len(strides) > 1 and len(anchor_sizes) != len(strides):
            raise ValueError(f"expected anchor_sizes with one size for each level ({len(strides)}), got {anchor_sizes}")
        sizes = (tuple(anchor_sizes),) if len(strides) == 1 else tuple((size,) for size in anchor_sizes)
        maps = [str(level) for level in range(len(backbone.strides))]
        self.detector = FasterRCNN(
            backbone,
            num_classes + self.first_label,
            rpn_anchor_generator=AnchorGenerator(sizes, (_ASPECT_RATIOS,) * len(sizes)),
            box_roi_pool=MultiScaleRoIAlign(maps, pool_cells, sampling_ratio=2),
            box_detections_per_img=max_detections,
            **(detector_options or {}),
        )
        self.detector.transform = _Identity()


def _level_strides(backbone: TimmBackbone) -> tuple[int, ...]:
    """Stride of each level in pixels, including the levels that a pyramid adds on top."""
    added = backbone.num_levels - len(backbone.strides)
    return (*backbone.strides, *(backbone.strides[-1] * 2 ** (level + 1) for level in range(added)))
