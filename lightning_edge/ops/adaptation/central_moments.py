"""Central moment discrepancy (CMD)."""

import torch
from jaxtyping import Float
from torch import Tensor

from lightning_edge.checks import check_whole_at_least
from lightning_edge.ops.adaptation.domain_batches import check_domains
from lightning_edge.ops.adaptation.finite_loss import finite_loss


@finite_loss
def central_moment_discrepancy(
    source: Float[Tensor, "source features"],
    target: Float[Tensor, "target features"],
    num_moments: int = 5,
    interval: float | None = 1.0,
) -> Float[Tensor, ""]:
    """Sum of the distances of the means and of the central moments of two domains (CMD, arXiv:1702.08811).

    Moments of order k are those of each feature, and their distance is divided by ``interval`` to the power k.

    Args:
        source: Features of the source domain.
        target: Features of the target domain.
        num_moments: Highest order; 1 compares only the means.
        interval: Length b - a of the interval of the features: 1 for sigmoid, 2 for tanh. ``None`` is the range of the
            given features, for those without bounds, as of a ReLU.

    Raises:
        ValueError: Features differ in number or are not finite, a domain has no samples, ``num_moments`` is not a whole
            number of at least 1, or ``interval`` is not above 0.
    """
    check_whole_at_least(1, num_moments=num_moments)
    if interval is not None and not interval > 0:
        raise ValueError(f"expected interval above 0, got {interval}")
    check_domains(source, target)
    length = _range(torch.cat([source, target])) if interval is None else interval
    means = source.mean(0), target.mean(0)
    source, target = (source - means[0]) / length, (target - means[1]) / length
    total = torch.linalg.vector_norm(means[0] - means[1]) / length
    for order in range(2, num_moments + 1):
        total = total + torch.linalg.vector_norm(source.pow(order).mean(0) - target.pow(order).mean(0))
    return total


def _range(features: Float[Tensor, "samples features"]) -> Float[Tensor, ""]:
    """Difference of the largest and the smallest feature, as a constant of the optimization."""
    features = features.detach()
    return (features.max() - features.min()).clamp(min=torch.finfo(features.dtype).eps)
