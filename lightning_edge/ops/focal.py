"""Focal loss of heat maps."""

import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor


def center_focal_loss(
    scores: Float[Tensor, "batch classes h w"],
    target: Float[Tensor, "batch classes h w"],
    counts: Bool[Tensor, "batch classes h w"],
    alpha: float = 2.0,
    beta: float = 4.0,
) -> Tensor:
    """Sum of the focal loss over the cells that count (arXiv:1808.01244, equation 1, as arXiv:1904.07850 uses it).

    Args:
        scores: Logits.
        target: 1 in the middle of an object; near it between 0 and 1, where a wrong yes costs less.
        counts: Which cells count.
        alpha: Exponent that takes weight off cells that are right already.
        beta: Exponent that takes weight off cells near a middle.
    """
    probability = scores.sigmoid()
    positive = -F.logsigmoid(scores) * (1 - probability) ** alpha
    negative = -F.logsigmoid(-scores) * probability**alpha * (1 - target) ** beta
    is_middle = target == 1
    return (is_middle * positive + ~is_middle * counts * negative).sum()
