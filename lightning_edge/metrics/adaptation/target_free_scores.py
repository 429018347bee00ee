"""All scores that select a model of a target domain without its labels."""

from jaxtyping import Float, Int64
from torch import Tensor

from lightning_edge.metrics.adaptation.class_clusters import class_ami
from lightning_edge.metrics.adaptation.domain_classifier import domain_log_odds
from lightning_edge.metrics.adaptation.importance_weighting import (
    controlled_mean,
    importance_weighted_mean,
    normalized_controlled_mean,
)
from lightning_edge.metrics.adaptation.neighborhood_density import soft_neighborhood_density
from lightning_edge.metrics.adaptation.proxy_a_distance import proxy_a_distance
from lightning_edge.metrics.adaptation.reverse_validation import reverse_accuracy
from lightning_edge.metrics.adaptation.row_checks import check_rows
from lightning_edge.ops.adaptation.entropy import batch_nuclear_norm, mean_entropy, mutual_information
from lightning_edge.ops.adaptation.mmd import mmd
from lightning_edge.ops.sampling import evenly_spaced

KEYS = (
    "source_accuracy",
    "importance_weighted",
    "deep_embedded",
    "deep_embedded_normalized",
    "neighborhood_density",
    "negative_entropy",
    "information",
    "nuclear_norm",
    "reverse_accuracy",
    "class_ami",
    "negative_a_distance",
    "negative_mmd",
)
"""Keys of all scores, in the order of :func:`target_free_scores`."""
_NUM_MMD_ROWS = 1000
"""Number of rows of each domain whose kernels are computed, which are as many as pairs of rows."""


def target_free_scores(
    source_features: Float[Tensor, "source features"],
    source_logits: Float[Tensor, "source classes"],
    source_labels: Int64[Tensor, " source"],
    target_features: Float[Tensor, "target features"],
    target_logits: Float[Tensor, "target classes"],
    seed: int = 0,
) -> dict[str, float]:
    """Scores of a model from evaluation data of both domains, of which only the source has labels.

    ============================ ======================================================================================
    key                          score; a higher value is better for all of them
    ============================ ======================================================================================
    ``source_accuracy``          Share of correct predictions on the source, which ignores the target
    ``importance_weighted``      Its mean weighted by density ratios (Sugiyama et al. 2007)
    ``deep_embedded``            The same with a control variate (DEV, You et al. 2019)
    ``deep_embedded_normalized`` The same with normalized ratios (DEVN, arXiv:2208.07360)
    ``neighborhood_density``     Soft neighborhood density of target predictions (SND, arXiv:2108.10860)
    ``negative_entropy``         Minus the mean entropy of target predictions, in nats
    ``information``              Entropy of the mean target prediction minus the mean entropy, in nats
    ``nuclear_norm``             Nuclear norm of target predictions by the number of rows (BNM, arXiv:2003.12237)
    ``reverse_accuracy``         Accuracy on the source of a classifier that learned the target's predictions
    ``class_ami``                Agreement of target predictions with clusters of features (arXiv:2208.07360)
    ``negative_a_distance``      Minus the proxy A-distance of the features, which shows their alignment
    ``negative_mmd``             Minus the squared maximum mean discrepancy of up to 1000 rows of each domain
    ============================ ======================================================================================

    The last two diagnose alignment and say nothing about classes. ``neighborhood_density`` and ``negative_entropy`` are
    highest for a model that predicts one class with certainty for all rows; ``information`` and ``class_ami`` are 0
    for it. Scores depend on the number of rows, so models are compared on the same rows.

    Args:
        source_features: Features of source data that the model was not trained on, at least 5 rows.
        source_logits: Their logits.
        source_labels: Their labels.
        target_features: Features of target data, at least 5 rows.
        target_logits: Their logits.
        seed: Seed of the folds of the domain classifier and of k-means.

    Returns:
        The scores by key.

    Raises:
        ValueError: A domain has fewer than 5 rows, or a feature or a logit is NaN or infinite.
    """
    check_rows(1, source_logits=source_logits, target_logits=target_logits)
    log_odds = domain_log_odds(source_features, target_features, seed)
    is_right = (source_logits.argmax(1) == source_labels).double()
    logits = target_logits.double()
    return {
        "source_accuracy": float(is_right.mean()),
        "importance_weighted": importance_weighted_mean(is_right, log_odds.source_ratios),
        "deep_embedded": controlled_mean(is_right, log_odds.source_ratios),
        "deep_embedded_normalized": normalized_controlled_mean(is_right, log_odds.source_ratios),
        "neighborhood_density": soft_neighborhood_density(logits),
        "negative_entropy": -float(mean_entropy(logits)),
        "information": float(mutual_information(logits)),
        "nuclear_norm": float(batch_nuclear_norm(logits)),
        "reverse_accuracy": reverse_accuracy(source_features, source_labels, target_features, logits),
        "class_ami": class_ami(target_features, logits, seed),
        "negative_a_distance": -proxy_a_distance(log_odds),
        "negative_mmd": -float(mmd(_thinned(source_features), _thinned(target_features))),
    }


def _thinned(features: Float[Tensor, "rows features"]) -> Float[Tensor, "sample features"]:
    return features[evenly_spaced(len(features), _NUM_MMD_ROWS)].double()
