"""Correlation alignment (CORAL): distances of the covariances of two domains."""

import torch
from jaxtyping import Float
from torch import Tensor

from lightning_edge.ops.adaptation.domain_batches import check_domains
from lightning_edge.ops.adaptation.finite_loss import finite_loss
from lightning_edge.ops.adaptation.matrix_log import symmetric_log


@finite_loss
def coral(source: Float[Tensor, "source features"], target: Float[Tensor, "target features"]) -> Float[Tensor, ""]:
    """Squared Frobenius distance of the covariances, over 4 d^2 for d features (Deep CORAL, arXiv:1607.01719).

    Args:
        source: Features of the source domain.
        target: Features of the target domain.

    Raises:
        ValueError: Features differ in number or are not finite, or a domain has fewer than two samples.
    """
    check_domains(source, target, least=2)
    return _distance(_covariance(source), _covariance(target))


@finite_loss
def log_coral(
    source: Float[Tensor, "source features"], target: Float[Tensor, "target features"], ridge: float = 1e-3
) -> Float[Tensor, ""]:
    """Squared log-Euclidean distance of the covariances, over 4 d^2 for d features (arXiv:1711.10288).

    It costs two eigendecompositions of d x d matrices.

    Args:
        source: Features of the source domain.
        target: Features of the target domain.
        ridge: Variance that is added to each feature. A batch with fewer samples than features has no variance in
            some directions, where the logarithm would be infinite.

    Raises:
        ValueError: Features differ in number or are not finite, a domain has fewer than two samples, or the ridge is
            not above 0.
    """
    if not ridge > 0:
        raise ValueError(f"expected ridge above 0, got {ridge}")
    check_domains(source, target, least=2)
    identity = ridge * torch.eye(source.shape[1], dtype=source.dtype, device=source.device)
    logs = [symmetric_log(_covariance(features) + identity) for features in (source, target)]
    return _distance(*logs)


def _covariance(features: Tensor) -> Tensor:
    centered = features - features.mean(0)
    return centered.T @ centered / (len(features) - 1)


def _distance(first: Tensor, second: Tensor) -> Tensor:
    return (first - second).square().sum() / (4 * len(first) ** 2)
