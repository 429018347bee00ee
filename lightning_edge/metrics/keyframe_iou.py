"""Mean IoU of a video net by the distance of the labeled frame from the key frame."""

from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor
from torchmetrics import Metric

from lightning_edge.ops.iou import confusion_matrix, mean_iou


class KeyframeScores(NamedTuple):
    """Mean IoUs by distance and by interval, in [0, 1]."""

    by_distance: tuple[float, ...]
    """Mean IoU at 0, 1, ... frames after the key frame."""
    by_interval: tuple[float, ...]
    """Mean IoU with a key frame every 1, 2, ... frames, over all distances that occur."""


class KeyframeIoU(Metric):
    """One confusion matrix for each distance from the key frame, summed over the data.

    With a key frame every ``n`` frames, labels are at the distances 0 to n-1 equally often. So the average score of
    interval n is that of the sum of these n matrices, and the worst score is that of distance n-1. Here every label is
    evaluated at all distances, while ``--avg`` of Accel's released code cycles through the distances and evaluates each
    label at one of them.

    Args:
        num_classes: Number of classes.
        num_distances: Number of distances, starting from 0.
    """

    higher_is_better = True
    is_differentiable = False
    full_state_update = False
    confusion: Tensor

    def __init__(self, num_classes: int, num_distances: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        zeros = torch.zeros(num_distances, num_classes, num_classes, dtype=torch.int64)
        self.add_state("confusion", zeros, dist_reduce_fx="sum")

    def update(self, prediction: Int[Tensor, "*shape"], mask: Int[Tensor, "*shape"], distance: int) -> None:
        """Count the pixels of frames at one distance from their key frame, by true and predicted class."""
        self.confusion[distance] += confusion_matrix(prediction, mask, self.num_classes)

    def compute(self) -> KeyframeScores:
        """Mean IoU by distance and by interval; NaN if nothing was counted."""
        by_distance, by_interval = mean_iou(self.confusion), mean_iou(self.confusion.cumsum(0))
        return KeyframeScores(tuple(by_distance.tolist()), tuple(by_interval.tolist()))
