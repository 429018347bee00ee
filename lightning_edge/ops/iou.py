"""Intersection over union from confusion matrices, by the definition of the Cityscapes benchmark."""

import torch
from jaxtyping import Float, Int, Int64
from torch import Tensor

from lightning_edge.contracts import IGNORE_INDEX


def confusion_matrix(
    prediction: Int[Tensor, "*shape"], mask: Int[Tensor, "*shape"], num_classes: int
) -> Int64[Tensor, "classes classes"]:
    """Counts of true (rows) and predicted classes (columns) over the pixels that are labeled.

    Raises:
        ValueError: A label is neither a class nor ``IGNORE_INDEX``, or the prediction of a labeled pixel is no class.
    """
    counted = mask != IGNORE_INDEX
    label, predicted = mask[counted], prediction[counted]
    for name, classes in (("labels", label), ("predictions", predicted)):
        if len(classes):
            least, greatest = (int(value) for value in classes.aminmax())
            if greatest >= num_classes:
                raise ValueError(f"expected {name} below num_classes ({num_classes}), got {greatest}")
            if least < 0:
                raise ValueError(f"expected {name} of at least 0, got {least}")
    cells = label.long() * num_classes + predicted.long()
    return torch.bincount(cells, minlength=num_classes**2).view(num_classes, num_classes)


def class_iou(confusion: Int[Tensor, "*batch classes classes"]) -> Float[Tensor, "*batch classes"]:
    """IoU of each class, in [0, 1]; NaN for a class that neither truth nor prediction contains.

    Rows of ``confusion`` are true classes, columns predicted ones, as in torchmetrics.
    """
    hits = confusion.diagonal(dim1=-2, dim2=-1)
    union = confusion.sum(-1) + confusion.sum(-2) - hits
    return hits / union  # 0 / 0 is the NaN promised


def mean_iou(confusion: Int[Tensor, "*batch classes classes"]) -> Float[Tensor, "*batch"]:
    """Mean of the class IoUs, over the classes that occur, in [0, 1].

    The confusion matrix is summed over the data set first (``cityscapesScripts``, evalPixelLevelSemanticLabeling);
    the mean of each image's IoU is another number.
    """
    return class_iou(confusion).nanmean(-1)
