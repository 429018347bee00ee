"""Intersection over union from confusion matrices, by the definition of the Cityscapes benchmark."""

import torch
from jaxtyping import Float, Int, Int64
from torch import Tensor

from lightning_edge.checks import check_at_least
from lightning_edge.contracts import IGNORE_INDEX


def confusion_matrix(
    prediction: Int[Tensor, "*shape"], mask: Int[Tensor, "*shape"], num_classes: int
) -> Int64[Tensor, "classes classes"]:
    """Counts of true classes (rows) and predicted classes (columns) over the labeled pixels.

    Raises:
        ValueError: A label is neither a class nor ``IGNORE_INDEX``, or the prediction of a labeled pixel is not a
            class.
    """
    counted = mask != IGNORE_INDEX
    label, predicted = mask[counted], prediction[counted]
    for name, classes in (("labels", label), ("predictions", predicted)):
        if len(classes):
            least, greatest = (int(value) for value in classes.aminmax())
            if greatest >= num_classes:
                raise ValueError(f"expected {name} below num_classes ({num_classes}), got {greatest}")
            check_at_least(0, **{name: least})
    cells = label.long() * num_classes + predicted.long()
    return torch.bincount(cells, minlength=num_classes**2).view(num_classes, num_classes)


def class_iou(confusion: Int[Tensor, "*batch classes classes"]) -> Float[Tensor, "*batch classes"]:
    """IoU of each class, in [0, 1]; NaN for a class that is neither in the labels nor in the prediction.

    Rows of ``confusion`` are true classes and columns are predicted classes, as in torchmetrics.
    """
    hits = confusion.diagonal(dim1=-2, dim2=-1)
    union = confusion.sum(-1) + confusion.sum(-2) - hits
    return hits / union  # 0 / 0 is NaN


def mean_iou(confusion: Int[Tensor, "*batch classes classes"]) -> Float[Tensor, "*batch"]:
    """Mean IoU over the classes that occur, in [0, 1].

    The confusion matrix is summed over the data set first (``cityscapesScripts``, evalPixelLevelSemanticLabeling); the
    mean of the IoUs of single images would be another number.
    """
    return class_iou(confusion).nanmean(-1)
