"""Minimum class confusion (MCC)."""

import torch
from jaxtyping import Float
from torch import Tensor

from lightning_edge.ops.adaptation.entropy import entropy_weights
from lightning_edge.ops.adaptation.finite_loss import finite_loss


@finite_loss
def class_confusion(logits: Float[Tensor, "batch classes"], temperature: float = 2.5) -> Float[Tensor, ""]:
    """Mean over classes of the share of other classes in their correlation of predictions (MCC, arXiv:1912.03699).

    Predictions are weighted by :func:`~lightning_edge.ops.adaptation.entropy.entropy_weights`, through which no
    gradient flows, as in the code of the paper.

    Args:
        logits: Logits of samples of the target domain.
        temperature: Divisor of the logits.

    Raises:
        ValueError: A logit is not finite, there are none, or the temperature is not above 0.
    """
    if not temperature > 0:
        raise ValueError(f"expected temperature above 0, got {temperature}")
    probabilities = (logits / temperature).softmax(1)
    # the paper also divides the weights by their mean, which the shares below cancel
    weights = entropy_weights(logits / temperature)
    confusion = (probabilities * weights[:, None]).T @ probabilities
    # a class that no sample has would be 0 / 0
    shares = confusion / confusion.sum(1, keepdim=True).clamp(min=torch.finfo(confusion.dtype).tiny)
    return (shares.sum() - shares.trace()) / len(shares)
