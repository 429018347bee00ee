"""A small anchor-free detector that can be trained from random weights in minutes on a CPU."""

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torchvision.ops import batched_nms

from lightning_edge.contracts import DetectionBatch, Detections
from lightning_edge.nn.encoders.normalize import Normalize
from lightning_edge.nn.encoders.timm_encoder import feature_maps, make_encoder
from lightning_edge.ops.box_loss import generalized_iou_loss
from lightning_edge.ops.center_targets import PaddedBoxes, cell_centers, cells_within, center_targets, pad_boxes
from lightning_edge.ops.focal import center_focal_loss
from lightning_edge.ops.precision import at_least_float32

NMS_IOU = 0.6
"""IoU threshold of non-maximum suppression, for each class separately."""
_BOX_WEIGHT = 5.0
"""Weight of the box loss relative to the center loss (arXiv:1909.00700)."""
_FIRST_PROBABILITY = 0.01
"""Predicted probability of an object at each cell before training (arXiv:1708.02002)."""
_LARGEST_EXPONENT = 6.0


class CenterMaps(NamedTuple):
    """Predictions at each cell of the feature map."""

    heat: Float[Tensor, "batch classes h w"]
    """Logits that the center of an object of the class is in the cell."""
    sides: Float[Tensor, "batch 4 h w"]
    """Logarithm of the distances to the left, top, right and bottom side of the box, in cells."""


class CenterDetector(nn.Module):
    """Predicts centers of objects and the distances from there to the sides of their boxes, on one fine feature map.

    Heat maps are those of *Objects as Points* (arXiv:1904.07850); targets and losses are those of
    *Training-Time-Friendly Network* (arXiv:1909.00700). The feature map has the given ``stride``. Coarser maps of the
    encoder are added to it from the top down, as in feature pyramids (arXiv:1612.03144).

    Args:
        encoder: Name of any timm model that supports ``features_only``, including those of
            :mod:`~lightning_edge.nn.encoders.small_resnet`.
        num_classes: Number of classes, without the background.
        channels: Number of channels of the feature map that the heads read.
        stride: Side of a cell of the feature map, in pixels of the image. The encoder must have a stage of this stride.
        max_detections: Largest number of boxes in an image.
        weights: Path of a file of encoder weights in timm's format; random weights if ``None``. Nothing is downloaded.
        encoder_options: Further arguments of ``timm.create_model`` for this encoder, such as ``channels`` of a ResNet.

    Raises:
        ValueError: timm has no such encoder, the encoder has no stage of that stride, or ``weights`` belong to another
            net.
        FileNotFoundError: The file ``weights`` does not exist.
    """

    class_layer = "heat.1"
    """Name of the layer whose outputs are the logits of the classes, as which callbacks could also take ``sides``."""

    def __init__(
        self,
        encoder: str,
        num_classes: int,
        channels: int = 48,
        stride: int = 4,
        max_detections: int = 100,
        weights: str | None = None,
        encoder_options: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.num_classes, self.stride, self.max_detections = num_classes, stride, max_detections
        self.encoder = make_encoder(encoder, weights, encoder_options or {})
        self.normalize = Normalize.from_timm(self.encoder)
        info = self.encoder.feature_info
        if stride not in info.reduction():  # pyright: ignore
            raise ValueError(f"expected stride to be one of {info.reduction()} for {encoder}, got {stride}")  # pyright: ignore
        self._first = info.reduction().index(stride)  # pyright: ignore
        self.lateral = nn.ModuleList(nn.Conv2d(width, channels, 1) for width in info.channels()[self._first :])  # pyright: ignore
        self.smooth = _conv_norm_relu(channels)
        self.heat = nn.Sequential(_conv_norm_relu(channels), nn.Conv2d(channels, num_classes, 1))
        self.sides = nn.Sequential(_conv_norm_relu(channels), nn.Conv2d(channels, 4, 1))
        prior = torch.tensor(_FIRST_PROBABILITY)
        nn.init.constant_(self.heat[-1].bias, torch.logit(prior).item())  # pyright: ignore

    def forward(self, image: Float[Tensor, "batch 3 height width"]) -> CenterMaps:
        """Prediction maps of an image in [0, 1]."""
        features = feature_maps(self.encoder, self.normalize(image))[self._first :]
        merged = self.lateral[-1](features[-1])
        for lateral, feature in zip(list(self.lateral)[-2::-1], features[-2::-1], strict=True):
            merged = lateral(feature) + F.interpolate(merged, feature.shape[-2:])
        merged = self.smooth(merged)
        return CenterMaps(self.heat(merged), self.sides(merged))

    def losses(self, batch: DetectionBatch) -> dict[str, Tensor]:
        """Focal loss of the centers and generalized IoU loss of the boxes, each divided by the number of objects."""
        objects = pad_boxes(batch["boxes_xyxy"], batch["label"])
        ignored = pad_boxes(batch["ignored_xyxy"], batch["ignored_label"])
        return self.losses_of(self(batch["image"]), objects, ignored)

    def losses_of(self, maps: CenterMaps, objects: PaddedBoxes, ignored: PaddedBoxes) -> dict[str, Tensor]:
        """The losses of given predictions, with the boxes as padded tensors."""
        maps = CenterMaps(*map(at_least_float32, maps))
        size = (self.num_classes, *_height_width(maps.heat), self.stride)
        targets = center_targets(objects, *size)
        counts = ~cells_within(ignored, *size) | (targets.heat > 0)
        box_loss = (targets.weight * generalized_iou_loss(self._boxes(maps), targets.boxes_xyxy)).sum()
        num_objects = objects.is_box.sum().clamp(min=1)
        return {
            "middles": center_focal_loss(maps.heat, targets.heat, counts) / num_objects,
            "boxes": _BOX_WEIGHT * box_loss / num_objects,
        }

    def detect(self, image: Float[Tensor, "batch 3 height width"]) -> list[Detections]:
        """Boxes in each image, from the highest peaks of the heat maps."""
        return self.decode(self(image), image.shape[-2], image.shape[-1])

    def decode(self, maps: CenterMaps, height: int, width: int) -> list[Detections]:
        """Boxes from prediction maps of images of a given size."""
        heat = at_least_float32(maps.heat).sigmoid()
        heat = heat * (heat == F.max_pool2d(heat, 3, 1, 1))
        score, place = heat.flatten(1).topk(min(self.max_detections, heat[0].numel()))
        label, cell = place // heat[0, 0].numel(), place % heat[0, 0].numel()
        boxes = self._boxes(maps).flatten(1, 2)
        limit = boxes.new_tensor([width, height, width, height])
        boxes = boxes.gather(1, cell[..., None].expand(-1, -1, 4)).clamp(min=0).minimum(limit)
        return [_distinct(*candidates) for candidates in zip(boxes, score, label, strict=True)]

    def _boxes(self, maps: CenterMaps) -> Float[Tensor, "batch h w 4"]:
        sides = self.stride * at_least_float32(maps.sides).clamp(max=_LARGEST_EXPONENT).exp().movedim(1, -1)
        center = cell_centers(*_height_width(maps.heat), self.stride, sides)
        return torch.cat([center - sides[..., :2], center + sides[..., 2:]], -1)


def _height_width(maps: Tensor) -> tuple[int, int]:
    return maps.shape[-2], maps.shape[-1]


def _distinct(boxes: Tensor, score: Tensor, label: Tensor) -> Detections:
    is_peak = score > 0  # the heat of all cells that are no local maximum was set to zero
    boxes, score, label = boxes[is_peak], score[is_peak], label[is_peak]
    kept = batched_nms(boxes, score, label, NMS_IOU)
    return Detections(boxes[kept], score[kept], label[kept])


def _conv_norm_relu(channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels), nn.ReLU(inplace=True)
    )
