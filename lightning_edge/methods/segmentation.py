"""Semantic segmentation of single images."""

from typing import Any

import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.optim import AdamW
from torchmetrics.classification import MulticlassConfusionMatrix

from lightning_edge.contracts import IGNORE_INDEX, FrameBatch, SegmentationBatch
from lightning_edge.methods.base import Method, OptimizerCallable
from lightning_edge.methods.schedules import Schedule
from lightning_edge.ops.classes import most_likely
from lightning_edge.ops.iou import class_iou, mean_iou


class Segmentation(Method):
    """Train any net that maps images to scores of its classes, by cross-entropy over the labelled pixels.

    Logs ``{val,test}/miou`` and ``{val,test}/iou_<class>`` in [0, 1], of one confusion matrix summed over the data.

    Args:
        net: Maps images ``[B, 3, H, W]`` in [0, 1] to scores ``[B, num_classes, H, W]``; has ``num_classes``.
        optimizer: Makes the optimiser of the parameters.
        schedule: Factor of the learning rate by the share of training done; ``PolynomialDecay()`` if ``None``.
    """

    batch_type = SegmentationBatch

    def __init__(
        self,
        net: nn.Module,
        optimizer: OptimizerCallable = AdamW,
        schedule: Schedule | None = None,
    ) -> None:
        super().__init__(optimizer, schedule)
        self.net = net
        self.num_classes: int = net.num_classes  # pyright: ignore
        self.confusion = MulticlassConfusionMatrix(self.num_classes, ignore_index=IGNORE_INDEX, validate_args=False)

    def forward(self, inputs: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch classes height width"]:
        """Scores (logits) of images in [0, 1]."""
        return self.net(inputs)

    def loss(self, batch: SegmentationBatch) -> Tensor:
        """Mean cross-entropy of the labelled pixels."""
        return pixel_loss(self(batch["image"]), batch["mask"])

    def on_validation_epoch_start(self) -> None:
        """Forget what an interrupted evaluation counted."""
        self.confusion.reset()

    def validation_step(self, batch: SegmentationBatch, batch_idx: int) -> None:
        """Count predictions."""
        self.confusion.update(most_likely(self(batch["image"])), batch["mask"])

    def on_validation_epoch_end(self) -> None:
        """Log the scores of the validation data."""
        self._log_scores("val")

    def on_test_epoch_start(self) -> None:
        """Forget what an interrupted evaluation counted."""
        self.confusion.reset()

    def test_step(self, batch: SegmentationBatch, batch_idx: int) -> None:
        """Count predictions."""
        self.validation_step(batch, batch_idx)

    def on_test_epoch_end(self) -> None:
        """Log the scores of the test data."""
        self._log_scores("test")

    def predict_step(self, batch: FrameBatch, batch_idx: int) -> Int64[Tensor, "batch height width"]:
        """Class of each pixel."""
        return most_likely(self(batch["image"]))

    def _log_scores(self, stage: str) -> None:
        confusion = self.confusion.compute()
        scores: dict[str, Any] = {f"{stage}/miou": mean_iou(confusion)}
        for name, iou in zip(self.class_names or range(self.num_classes), class_iou(confusion), strict=True):
            scores[f"{stage}/iou_{name}"] = iou
        self.log_dict({key: value for key, value in scores.items() if not value.isnan()})


def pixel_loss(
    scores: Float[Tensor, "batch classes height width"], mask: Int64[Tensor, "batch height width"]
) -> Tensor:
    """Mean cross-entropy over the labelled pixels; zero (with a gradient of zero) if there are none."""
    if scores.dtype.itemsize < 4:  # a sum over a batch's pixels overflows half precision
        scores = scores.float()
    total = F.cross_entropy(scores, mask, ignore_index=IGNORE_INDEX, reduction="sum")
    return total / (mask != IGNORE_INDEX).sum().clamp(min=1)
