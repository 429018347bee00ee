"""Scores of a video net by how far the label lies from the key frame."""

from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor
from torchmetrics import Metric

from lightning_edge.ops.iou import confusion_matrix, mean_iou


class KeyframeScores(NamedTuple):
    """Mean IoUs, in [0, 1]."""

    by_distance: tuple[float, ...]
    """At 0, 1, ... frames after the key frame."""
    by_interval: tuple[float, ...]
    """With a key frame every 1, 2, ... frames, over all the distances that occur."""


class KeyframeIoU(Metric):
    """One confusion matrix per distance from the key frame, each summed over the data.

    With a key frame every ``n`` frames, labels lie at the distances 0 to n-1 equally often: the average score of
    interval n is that of the summed matrices (``--avg`` of Accel's released code takes one of these distances for each
    label in turn; this takes all for each), the worst is that of distance n-1.

    Args:
        num_classes: Number of classes.
        num_distances: Number of distances, from 0 on.
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
        """Count the predicted classes of frames at one distance from their key frame."""
        self.confusion[distance] += confusion_matrix(prediction, mask, self.num_classes)

    def compute(self) -> KeyframeScores:
        """Mean IoU by distance and by interval; NaN where nothing was counted."""
        by_distance, by_interval = mean_iou(self.confusion), mean_iou(self.confusion.cumsum(0))
        return KeyframeScores(tuple(by_distance.tolist()), tuple(by_interval.tolist()))
