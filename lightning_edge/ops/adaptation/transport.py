"""Optimal transport of joint distributions; needs the extra ``adaptation``."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from lightning_edge.checks import check_at_least
from lightning_edge.ops.adaptation.domain_batches import check_domains, check_labels
from lightning_edge.ops.adaptation.finite_loss import finite_loss
from lightning_edge.ops.adaptation.gaussian_kernels import squared_distances


@finite_loss
def joint_transport_cost(
    source: Float[Tensor, "source features"],
    target: Float[Tensor, "target features"],
    source_labels: Int64[Tensor, " source"],
    target_logits: Float[Tensor, "target classes"],
    feature_weight: float = 1.0,
    class_weight: float = 1.0,
) -> Float[Tensor, ""]:
    """Least cost to transport the source samples with their labels to the target samples (DeepJDOT, arXiv:1803.10081).

    The cost of a pair is ``feature_weight`` times the squared distance of the features plus ``class_weight`` times the
    cross-entropy of the target logits for the source label (alpha and lambda_t in the paper). All samples of a domain
    have the same mass. The exact plan is computed by POT on the CPU, and the gradient is that of the cost at this plan.

    Args:
        source: Features of the source domain.
        target: Features of the target domain.
        source_labels: Labels of the source samples.
        target_logits: Logits of the target samples.
        feature_weight: Weight of the squared distance of the features.
        class_weight: Weight of the cross-entropy.

    Raises:
        ImportError: POT is not installed.
        ValueError: Features differ in number or are not finite, a domain has no samples, a label is missing or not
            a class, or a weight is below 0.
    """
    check_at_least(0, feature_weight=feature_weight, class_weight=class_weight)
    check_domains(source, target)
    check_labels(source_labels, source, "source_labels")
    check_labels(target_logits, target, "target_logits")
    if not ((source_labels >= 0) & (source_labels < target_logits.shape[1])).all():
        raise ValueError(f"expected source_labels of 0 to {target_logits.shape[1] - 1}, got {source_labels.tolist()}")
    cross_entropies = -F.log_softmax(target_logits, dim=1)[:, source_labels].T
    costs = feature_weight * squared_distances(source, target) + class_weight * cross_entropies
    return (_transport_plan(costs.detach()) * costs).sum()


def _transport_plan(costs: Tensor) -> Tensor:
    try:
        import ot
    except ImportError:
        raise ImportError('POT is not installed; install it with `pip install "lightning-edge[adaptation]"`') from None
    if not torch.isfinite(costs).all():
        # no plan exists; the loss becomes NaN, which names the argument that causes it
        return torch.full_like(costs, torch.nan)
    plan = ot.emd([], [], costs.double().cpu().numpy())
    return torch.from_numpy(plan).to(costs)
