"""Intersection over union from confusion matrices, by the definition of the Cityscapes benchmark."""

import torch
from jaxtyping import Float, Int, Int64
from torch import Tensor

from lightning_edge.contracts import IGNORE_INDEX


def confusion_matrix(
    prediction: Int[Tensor, "*shape"], mask: Int[Tensor, "*shape"], num_classes: int
) -> Int64[Tensor, "classes classes"]:
    """Counts of true (rows) and predicted classes (columns) over the pixels that are labelled.

    Raises:
        ValueError: if a label is no class.
    """
    counted = mask != IGNORE_INDEX
    cells = mask[counted] * num_classes + prediction[counted]
    counts = torch.bincount(cells, minlength=num_classes**2)
    if len(counts) > num_classes**2:
        raise ValueError(f"expected labels below num_classes ({num_classes}), got {mask[counted].max().item()}")
    return counts.view(num_classes, num_classes)


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
