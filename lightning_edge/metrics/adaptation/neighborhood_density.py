"""Soft neighborhood density: how many neighbors a prediction has."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from lightning_edge.metrics.adaptation.row_checks import check_rows

_ROWS_AT_ONCE = 512
"""Bounds the memory for similarities, of which there are as many as pairs of rows."""


def soft_neighborhood_density(logits: Float[Tensor, "target classes"], temperature: float = 0.05) -> float:
    """Soft neighborhood density (SND, arXiv:2108.10860) of target predictions; higher is better.

    The similarity of two rows is the cosine of their class probabilities, divided by the temperature. Over the other
    rows, a softmax turns similarities into a distribution. The density is the mean entropy of these distributions, in
    nats. It is at most log(rows - 1), so it is compared between models on the same rows only.

    A model that predicts one class for everything reaches this maximum. The paper assumes models that were trained to
    classify the source.

    Args:
        logits: Logits of at least two target rows.
        temperature: Temperature of the softmax over rows.

    Raises:
        ValueError: There are fewer than two rows, a logit is NaN or infinite, or the temperature is not above 0.
    """
    check_rows(2, logits=logits)
    if not temperature > 0:
        raise ValueError(f"expected temperature above 0, got {temperature}")
    directions = normalize(logits.double().softmax(1))
    total = 0.0
    for start in range(0, len(directions), _ROWS_AT_ONCE):
        similarities = directions[start : start + _ROWS_AT_ONCE] @ directions.T / temperature
        similarities.diagonal(start).fill_(-torch.inf)
        total += float(torch.special.entr(similarities.softmax(1)).sum())
    return total / len(directions)
