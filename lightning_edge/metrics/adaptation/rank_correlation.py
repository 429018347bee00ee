"""How well a score orders models by their accuracy."""

from collections.abc import Sequence

import numpy as np
from scipy import stats


def rank_correlation(scores: Sequence[float], accuracies: Sequence[float]) -> float:
    """Spearman's rank correlation of a score with the accuracy on the target, over models or epochs.

    It is 1 if the score orders the models by their accuracy, and -1 if it reverses the order. Equal values share the
    mean of their ranks.

    Args:
        scores: The score of each model; NaN where it is unknown.
        accuracies: The accuracy of each model; NaN where it is unknown.

    Returns:
        The correlation over the models where both are known; NaN if these are fewer than two, or all scores or all
        accuracies are equal.

    Raises:
        ValueError: The numbers of scores and accuracies differ.
    """
    if len(scores) != len(accuracies):
        raise ValueError(f"expected one accuracy for each score ({len(scores)}), got {len(accuracies)}")
    pairs = np.array([scores, accuracies], dtype=np.float64)
    pairs = pairs[:, ~np.isnan(pairs).any(0)]
    if pairs.shape[1] < 2 or (pairs == pairs[:, :1]).all(1).any():
        return float("nan")
    return float(np.corrcoef(stats.rankdata(pairs, axis=1))[0, 1])
