"""Pseudo-labels with weights, and masks that mix images of two domains by class."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from lightning_edge.checks import check_at_least, check_whole_at_least
from lightning_edge.ops.precision import at_least_float32


def confident_pseudo_labels(
    logits: Float[Tensor, "batch classes *place"], threshold: float = 0.95
) -> tuple[Int64[Tensor, "batch *place"], Float[Tensor, "batch *place"]]:
    """Most probable classes, and weights of 1 where their probability is above the threshold, 0 elsewhere.

    FixMatch (arXiv:2001.07685) introduced the default of 0.95. No gradient flows through the weights.

    Args:
        logits: Logits of a teacher for samples of the target domain.
        threshold: Probability above which a prediction counts, 0 to 1.

    Raises:
        ValueError: The threshold is outside 0 to 1.
    """
    check_at_least(0, threshold=threshold)
    if threshold > 1:
        raise ValueError(f"expected threshold of at most 1, got {threshold}")
    probabilities, labels = at_least_float32(logits.detach()).softmax(1).max(1)
    return labels, (probabilities > threshold).to(probabilities.dtype)


def pseudo_masks(
    logits: Float[Tensor, "batch classes *place"], threshold: float = 0.968
) -> tuple[Int64[Tensor, "batch *place"], Float[Tensor, "batch *place"]]:
    """Most probable class of each pixel, and as weights the share of confident pixels in its image.

    The source is DAFormer (arXiv:2111.14887, with its threshold). Its code takes the share of the whole
    batch. No pixel is left out, so that uncertain borders are learned too. No gradient flows through the weights.

    Args:
        logits: Logits of a teacher for images of the target domain.
        threshold: Probability above which a pixel is confident, 0 to 1.

    Raises:
        ValueError: The threshold is outside 0 to 1.
    """
    labels, weights = confident_pseudo_labels(logits, threshold)
    shares = weights.flatten(1).mean(1)
    return labels, shares.reshape(-1, *[1] * (labels.ndim - 1)).expand_as(weights)


def class_mix_masks(
    labels: Int64[Tensor, "batch height width"], num_classes: int, generator: torch.Generator | None = None
) -> Bool[Tensor, "batch height width"]:
    """Pixels of half of the classes in each image, drawn at random (ClassMix, arXiv:2007.07936).

    The pixels are pasted from this image onto one of the other domain, images and labels alike, by
    ``torch.where(mask, source, target)``. Of an odd number of classes one more than half is drawn, as in DACS
    (arXiv:2007.08702); ClassMix draws one less.

    Args:
        labels: Classes of pixels. Pixels whose label is not in 0 to ``num_classes`` - 1, such as 255, are never drawn.
        num_classes: Number of classes.
        generator: Random numbers on the CPU; those of torch by default.

    Raises:
        ValueError: ``num_classes`` is not a whole number of at least 1.
    """
    check_whole_at_least(1, num_classes=num_classes)
    is_class = (labels >= 0) & (labels < num_classes)
    index = torch.where(is_class, labels, num_classes).flatten(1)
    is_present = torch.zeros(len(labels), num_classes + 1, dtype=torch.bool, device=labels.device)
    is_present = is_present.scatter(1, index, True)[:, :num_classes]
    scores = torch.rand(len(labels), num_classes, generator=generator).to(labels.device)
    rank = torch.where(is_present, scores, torch.inf).argsort(1).argsort(1)
    is_drawn = is_present & (rank < (is_present.sum(1, keepdim=True) + 1) // 2)
    return F.pad(is_drawn, (0, 1)).gather(1, index).view_as(labels)
