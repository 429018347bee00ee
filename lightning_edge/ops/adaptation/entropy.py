"""Entropy of predictions, and quantities made of it."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from lightning_edge.ops.adaptation.finite_loss import finite_loss
from lightning_edge.ops.precision import at_least_float32


def softmax_entropy(logits: Float[Tensor, "batch classes *place"]) -> Float[Tensor, "batch *place"]:
    """Entropy, in nats, of the class probabilities of each prediction."""
    log_probabilities = F.log_softmax(at_least_float32(logits), dim=1)
    return -(log_probabilities.exp() * log_probabilities).sum(1)


def entropy_weights(logits: Float[Tensor, "batch classes *place"]) -> Float[Tensor, "batch *place"]:
    """Weights 1 + exp(-entropy) of predictions, which prefer certain ones (CDAN+E, arXiv:1705.10667).

    No gradient flows through them. In the first public code of the paper one flows back, reversed.
    """
    return 1 + torch.exp(-softmax_entropy(logits.detach()))


def class_probabilities(
    logits: Float[Tensor, "batch classes *place"], exclusive: bool = True
) -> Float[Tensor, "batch classes *place"]:
    """Probability of each class, in float32 at least.

    Args:
        logits: Logits of the classes.
        exclusive: Whether a prediction is of exactly one class (softmax) or of any number of classes (sigmoid).
    """
    return at_least_float32(logits).softmax(1) if exclusive else at_least_float32(logits).sigmoid()


def self_information(
    logits: Float[Tensor, "batch classes *place"], exclusive: bool = True
) -> Float[Tensor, "batch classes *place"]:
    """Weighted self-information -p log(p) of each class, as a share of the largest entropy (ADVENT, arXiv:1811.12833).

    Its sum over the classes is the entropy divided by the logarithm of their number. If classes do not exclude each
    other, which the paper does not treat, each class has the entropy of its own two outcomes, divided by log(2).

    Args:
        logits: Logits of the classes.
        exclusive: See :func:`class_probabilities`.
    """
    logits = at_least_float32(logits)
    if exclusive:
        log_probabilities = F.log_softmax(logits, dim=1)
        return -log_probabilities.exp() * log_probabilities / math.log(max(2, logits.shape[1]))
    probabilities = logits.sigmoid()
    return (probabilities * F.softplus(-logits) + (1 - probabilities) * F.softplus(logits)) / math.log(2)


@finite_loss
def mean_entropy(logits: Float[Tensor, "batch classes *place"]) -> Float[Tensor, ""]:
    """Mean entropy, in nats, of predictions, which training on a target domain minimizes.

    The source is Grandvalet and Bengio 2004, "Semi-supervised learning by entropy minimization"; TENT
    (arXiv:2006.10726) minimizes it at test time.

    Raises:
        ValueError: A logit is not finite, or there are none.
    """
    return softmax_entropy(logits).mean()


@finite_loss
def mutual_information(logits: Float[Tensor, "batch classes *place"]) -> Float[Tensor, ""]:
    """Entropy of the mean prediction minus the mean entropy, in nats, which information maximization maximizes.

    It is between 0 and log of the number of classes, and large for predictions that are certain and diverse (SHOT,
    arXiv:2002.08546, which minimizes its negative).

    Raises:
        ValueError: A logit is not finite, or there are none.
    """
    log_probabilities = F.log_softmax(logits, dim=1).transpose(0, 1).flatten(1)
    log_mean = torch.logsumexp(log_probabilities, dim=1) - math.log(log_probabilities.shape[1])
    return -(log_mean.exp() * log_mean).sum() - softmax_entropy(logits).mean()


@finite_loss
def batch_nuclear_norm(logits: Float[Tensor, "batch classes"]) -> Float[Tensor, ""]:
    """Nuclear norm of the matrix of class probabilities over the batch size, which BNM maximizes (arXiv:2003.12237).

    It is large for predictions that are certain and diverse.

    Raises:
        ValueError: A logit is not finite, or there are none.
    """
    return torch.linalg.svdvals(logits.softmax(1)).sum() / len(logits)
