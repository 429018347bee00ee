"""Focal loss of heat maps."""

import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor


def center_focal_loss(
    logits: Float[Tensor, "batch classes h w"],
    target: Float[Tensor, "batch classes h w"],
    counts: Bool[Tensor, "batch classes h w"],
    alpha: float = 2.0,
    beta: float = 4.0,
) -> Tensor:
    """Sum of the focal loss over the cells that count (arXiv:1808.01244, equation 1, as arXiv:1904.07850 uses it).

    Args:
        logits: Logits of the classes.
        target: 1 at the center of an object. Near it between 0 and 1, where false positives cost less.
        counts: Whether each cell counts.
        alpha: Exponent that reduces the weight of cells that are already correct.
        beta: Exponent that reduces the weight of cells near a center.
    """
    probability = logits.sigmoid()
    positive = -F.logsigmoid(logits) * (1 - probability) ** alpha
    negative = -F.logsigmoid(-logits) * probability**alpha * (1 - target) ** beta
    is_middle = target == 1
    return (is_middle * positive + ~is_middle * counts * negative).sum()
