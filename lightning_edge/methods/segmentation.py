"""Semantic segmentation of single images."""

import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.optim import AdamW

from lightning_edge.contracts import IGNORE_INDEX, FrameBatch, SegmentationBatch
from lightning_edge.methods.base import OptimizerCallable
from lightning_edge.methods.confusion import Confusion
from lightning_edge.methods.evaluated import EvaluatedMethod
from lightning_edge.methods.schedules import Schedule
from lightning_edge.ops.classes import predict_classes
from lightning_edge.ops.iou import class_iou, mean_iou
from lightning_edge.ops.names import distinct_keys
from lightning_edge.ops.precision import at_least_float32


class Segmentation(EvaluatedMethod):
    """Train any net that maps images to logits of its classes, by cross-entropy over the labeled pixels.

    Logs ``{val,test}/miou`` and ``{val,test}/iou_<class>`` in [0, 1], from one confusion matrix over all the data.

    Args:
        net: Net that maps images ``[B, 3, H, W]`` in [0, 1] to logits ``[B, num_classes, H, W]``. It must have the
            attribute ``num_classes``.
        optimizer: Function that makes the optimizer from the parameters.
        schedule: Function that maps the completed share of training to a factor of the learning rate. ``None`` means
            ``PolynomialDecay()``.
    """

    batch_type = SegmentationBatch
    labeled_thing = "pixel"

    def __init__(
        self,
        net: nn.Module,
        optimizer: OptimizerCallable = AdamW,
        schedule: Schedule | None = None,
    ) -> None:
        super().__init__(optimizer, schedule)
        self.net = net
        self.num_classes: int = net.num_classes  # pyright: ignore
        self.confusion = Confusion(self.num_classes)

    def forward(self, inputs: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch classes height width"]:
        """Logits of images in [0, 1]."""
        return self.net(inputs)

    def loss(self, batch: SegmentationBatch) -> Tensor:
        """Mean cross-entropy over the labeled pixels."""
        return pixel_loss(self(batch["image"]), batch["mask"])

    def reset_scores(self) -> None:
        """Reset the confusion matrix."""
        self.confusion.reset()

    def validation_step(self, batch: SegmentationBatch, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Update the confusion matrix with the predictions for a batch."""
        logits, mask = self(batch["image"]), batch["mask"]
        self.evidence.update((mask != IGNORE_INDEX).sum(), logits)
        self.confusion.update(predict_classes(logits), mask)

    def scores(self) -> dict[str, Tensor]:
        """Mean IoU, and the IoU of each class that occurs in the labels or the predictions."""
        confusion = self.confusion.compute()
        keys = distinct_keys(self._names_of_classes(), "class")
        by_class = zip(keys, class_iou(confusion), strict=True)
        return {"miou": mean_iou(confusion)} | {f"iou_{key}": iou for key, iou in by_class if not iou.isnan()}

    def predict_step(self, batch: FrameBatch, batch_idx: int) -> Int64[Tensor, "batch height width"]:
        """Predicted class of each pixel."""
        return predict_classes(self(batch["image"]))


def pixel_loss(
    logits: Float[Tensor, "batch classes height width"], mask: Int64[Tensor, "batch height width"]
) -> Tensor:
    """Mean cross-entropy over the labeled pixels; zero (with a gradient of zero) if there are none.

    Args:
        logits: Logits of the classes.
        mask: Class of each pixel; pixels with ``IGNORE_INDEX`` do not count.
    """
    logits = at_least_float32(logits)  # the sum over all pixels of a batch overflows in half precision
    total = F.cross_entropy(logits, mask, ignore_index=IGNORE_INDEX, reduction="sum")
    return total / (mask != IGNORE_INDEX).sum().clamp(min=1)
