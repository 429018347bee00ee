"""Confusion matrix over all labeled pixels."""

import torch
from jaxtyping import Int, Int64
from torch import Tensor
from torchmetrics import Metric
from typing_extensions import override

from lightning_edge.ops.iou import confusion_matrix


class Confusion(Metric):
    """Pixels by true (row) and predicted class (column), summed over the batches of all processes.

    Args:
        num_classes: Number of classes.
    """

    is_differentiable = False
    full_state_update = False
    counts: Tensor

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.add_state("counts", torch.zeros(num_classes, num_classes, dtype=torch.int64), dist_reduce_fx="sum")

    @override
    def update(self, prediction: Int[Tensor, "*shape"], mask: Int[Tensor, "*shape"]) -> None:
        """Count the pixels of some images by true and predicted class."""
        self.counts += confusion_matrix(prediction, mask, self.num_classes)

    @override
    def compute(self) -> Int64[Tensor, "classes classes"]:
        """Return the confusion matrix."""
        return self.counts
