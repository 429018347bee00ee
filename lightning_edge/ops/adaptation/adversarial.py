"""Losses of domain discriminators and of adversarial classifiers."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from lightning_edge.checks import check_at_least
from lightning_edge.ops.adaptation.domain_batches import check_labels
from lightning_edge.ops.adaptation.finite_loss import finite_loss


@finite_loss
def domain_cross_entropy(
    logits: Float[Tensor, "batch *place"], is_source: bool, weights: Float[Tensor, " samples"] | None = None
) -> Float[Tensor, ""]:
    """Mean binary cross-entropy of a domain discriminator on samples of one domain.

    With the true domain the discriminator learns. With the other domain the net before it learns to deceive it, as in
    ADDA (arXiv:1702.05464) and AdaptSegNet (arXiv:1802.10349).

    Args:
        logits: Logits that samples, or places of samples, are of the source domain.
        is_source: Whether the samples count as source.
        weights: Weights of the samples, of 0 or more, which are divided by their mean. ``None`` weights all alike.

    Raises:
        ValueError: A logit or weight is not finite, there are no logits or not one weight for each sample, or all
            weights are 0.
    """
    losses = F.softplus(-logits if is_source else logits)
    if weights is not None:
        check_labels(weights, logits, "weights")
        losses = losses * (weights / weights.mean()).reshape(-1, *[1] * (logits.ndim - 1))
    return losses.mean()


def domain_loss(
    source_logits: Float[Tensor, "source *place"],
    target_logits: Float[Tensor, "target *place"],
    source_weights: Float[Tensor, " _"] | None = None,
    target_weights: Float[Tensor, " _"] | None = None,
) -> Float[Tensor, ""]:
    """Binary cross-entropy of a domain discriminator, half of it from each domain (DANN, arXiv:1505.07818).

    Domains count the same if their numbers of samples differ. Weights are normalized within a domain, as in the code of
    CDAN (arXiv:1705.10667).

    Args:
        source_logits: Logits of source samples, or of their places, that they are of the source domain.
        target_logits: The same of target samples.
        source_weights: Weights of the source samples, see :func:`domain_cross_entropy`.
        target_weights: Weights of the target samples.

    Raises:
        ValueError: See :func:`domain_cross_entropy`.
    """
    source_loss = domain_cross_entropy(source_logits, is_source=True, weights=source_weights)
    return (source_loss + domain_cross_entropy(target_logits, is_source=False, weights=target_weights)) / 2


def domain_confusion(
    source_logits: Float[Tensor, "source *place"], target_logits: Float[Tensor, "target *place"]
) -> Float[Tensor, ""]:
    """Cross-entropy of a domain discriminator against both domains with probability 1/2 (arXiv:1510.02192).

    The features minimize it, log 2 at least, and the discriminator minimizes :func:`domain_loss`. Half of it comes from
    each domain.

    Args:
        source_logits: Logits of source samples, or of their places, that they are of the source domain.
        target_logits: The same of target samples.

    Raises:
        ValueError: A logit is not finite, or a domain has none.
    """
    return (domain_loss(source_logits, target_logits) + domain_loss(target_logits, source_logits)) / 2


def multilinear_map(
    features: Float[Tensor, "batch features"], probabilities: Float[Tensor, "batch classes"]
) -> Float[Tensor, "batch classes*features"]:
    """Products of each feature with each class probability, as a discriminator's input (CDAN, arXiv:1705.10667)."""
    return (probabilities[:, :, None] * features[:, None, :]).flatten(1)


def randomized_multilinear_map(
    features: Float[Tensor, "batch features"],
    probabilities: Float[Tensor, "batch classes"],
    feature_matrix: Float[Tensor, "features size"],
    class_matrix: Float[Tensor, "classes size"],
) -> Float[Tensor, "batch size"]:
    """Random projection of :func:`multilinear_map`, for many features times classes (CDAN, arXiv:1705.10667).

    Args:
        features: Features of samples.
        probabilities: Class probabilities of the same samples.
        feature_matrix: Fixed random matrix of mean 0 and variance 1, for example of normally distributed numbers.
        class_matrix: A second one of as many columns, independent of the first.
    """
    return (features @ feature_matrix) * (probabilities @ class_matrix) / feature_matrix.shape[1] ** 0.5


@finite_loss
def classifier_discrepancy(
    first_logits: Float[Tensor, "batch classes *place"], second_logits: Float[Tensor, "batch classes *place"]
) -> Float[Tensor, ""]:
    """Mean absolute difference of the class probabilities of two classifiers (MCD, arXiv:1712.02560).

    Raises:
        ValueError: A logit is not finite, or there are none.
    """
    return (first_logits.softmax(1) - second_logits.softmax(1)).abs().mean()


@finite_loss
def margin_disparity_loss(
    source_logits: Float[Tensor, "source classes *place"],
    source_adversary: Float[Tensor, "source classes *place"],
    target_logits: Float[Tensor, "target classes *place"],
    target_adversary: Float[Tensor, "target classes *place"],
    margin_factor: float = 4.0,
) -> Float[Tensor, ""]:
    """Loss of the adversarial classifier in margin disparity discrepancy (MDD, arXiv:1904.05801).

    The adversary shall agree with the predicted classes on the source domain, by cross-entropy times the margin factor,
    and shall not on the target domain, by -log(1 - probability of the predicted class). The features maximize the same
    loss, hence :func:`~lightning_edge.ops.adaptation.gradient_reversal.reverse_gradient` before the adversary. No
    gradient flows to the main classifier.

    Args:
        source_logits: Logits of the main classifier for source samples.
        source_adversary: Logits of the adversary for the same.
        target_logits: Logits of the main classifier for target samples.
        target_adversary: Logits of the adversary for the same.
        margin_factor: Weight of the source domain, gamma in the paper.

    Raises:
        ValueError: A logit of the adversary is not finite, a domain has no samples, there are fewer than two classes,
            or the factor is below 0.
    """
    check_at_least(0, margin_factor=margin_factor)
    check_at_least(2, num_classes=source_logits.shape[1])
    agreement = F.cross_entropy(source_adversary, source_logits.argmax(1))
    predicted = target_logits.argmax(1, keepdim=True)
    others = target_adversary.scatter(1, predicted, -torch.inf).logsumexp(1)
    return margin_factor * agreement + (target_adversary.logsumexp(1) - others).mean()
