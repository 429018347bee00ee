"""Maximum mean discrepancies of the classes of two domains."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from lightning_edge.checks import check_whole_at_least
from lightning_edge.ops.adaptation.domain_batches import check_domains, check_labels
from lightning_edge.ops.adaptation.finite_loss import finite_loss
from lightning_edge.ops.adaptation.gaussian_kernels import MULTIPLES, Bandwidth, gaussian_kernels


@finite_loss
def contrastive_domain_discrepancy(
    source: Float[Tensor, "source features"],
    target: Float[Tensor, "target features"],
    source_labels: Int64[Tensor, " source"],
    target_labels: Int64[Tensor, " target"],
    num_classes: int,
    multiples: Sequence[float] = MULTIPLES,
    bandwidth: Bandwidth = "mean",
) -> Float[Tensor, ""]:
    """Squared discrepancy within classes minus that between classes (CDD of CAN, arXiv:1901.00976).

    The first is the mean over classes of the discrepancy of source and target samples of the class, the second that
    over pairs of different classes. Only classes with samples in both domains count; without any the loss is 0. All
    classes share one bandwidth, whereas the code of the paper has one for each pair of classes.

    Args:
        source: Features of the source domain.
        target: Features of the target domain.
        source_labels: Labels of the source samples. Samples whose label is not in 0 to ``num_classes`` - 1, such as -1,
            do not count.
        target_labels: Predicted labels of the target samples, in which -1 can mark an uncertain one.
        num_classes: Number of classes.
        multiples: Multiple of the bandwidth of each kernel.
        bandwidth: ``mean`` or ``median`` of the squared distances of all distinct samples, or its value.

    Raises:
        ValueError: Features differ in number or are not finite, a domain has fewer samples than there are classes, a
            label is missing, or a bandwidth is not above 0.
    """
    check_whole_at_least(1, num_classes=num_classes)
    check_domains(source, target, least=num_classes)
    check_labels(source_labels, source, "source_labels")
    check_labels(target_labels, target, "target_labels")
    distances, is_shared = _class_distances(
        gaussian_kernels(torch.cat([source, target]), multiples, bandwidth),
        _one_hot(source_labels, num_classes),
        _one_hot(target_labels, num_classes),
    )
    is_pair = (is_shared[:, None] & is_shared).to(distances.dtype)
    is_within = is_pair.diagonal().diag()
    return _masked_mean(distances, is_within) - _masked_mean(distances, is_pair - is_within)


@finite_loss
def local_mmd(
    source: Float[Tensor, "source features"],
    target: Float[Tensor, "target features"],
    source_labels: Int64[Tensor, " source"],
    target_probabilities: Float[Tensor, "target classes"],
    multiples: Sequence[float] = MULTIPLES,
    bandwidth: Bandwidth = "mean",
) -> Float[Tensor, ""]:
    """Mean over classes of the squared discrepancy of samples weighted by class (local MMD of DSAN).

    The source is Zhu et al. 2020, "Deep subdomain adaptation network for image classification". Classes without a
    source sample do not count. The code of the paper also leaves out those that no target sample has as its most
    probable class.

    Args:
        source: Features of the source domain.
        target: Features of the target domain.
        source_labels: Labels of the source samples. Samples whose label is not a class, such as -1, do not count.
        target_probabilities: Class probabilities of the target samples; no gradient flows through them.
        multiples: Multiple of the bandwidth of each kernel.
        bandwidth: ``mean`` or ``median`` of the squared distances of all distinct samples, or its value.

    Raises:
        ValueError: Features differ in number or are not finite, a domain has no samples, a label is missing, or a
            bandwidth is not above 0.
    """
    check_domains(source, target)
    check_labels(source_labels, source, "source_labels")
    check_labels(target_probabilities, target, "target_probabilities")
    distances, is_shared = _class_distances(
        gaussian_kernels(torch.cat([source, target]), multiples, bandwidth),
        _one_hot(source_labels, target_probabilities.shape[1]),
        target_probabilities.detach(),
    )
    return _masked_mean(distances.diagonal(), is_shared.to(distances.dtype))


def _one_hot(labels: Tensor, num_classes: int) -> Tensor:
    return labels[:, None] == torch.arange(num_classes, device=labels.device)


def _class_distances(kernel: Tensor, source_weights: Tensor, target_weights: Tensor) -> tuple[Tensor, Tensor]:
    """Squared discrepancy of each source class (row) from each target class (column), and which classes both have.

    Columns of the weights are classes; they are divided by their sums.
    """
    source, target = source_weights.to(kernel.dtype), target_weights.to(kernel.dtype)
    source_total, target_total = source.sum(0), target.sum(0)
    least, split = torch.finfo(kernel.dtype).tiny, len(source)
    source, target = source / source_total.clamp(min=least), target / target_total.clamp(min=least)
    within_source = ((kernel[:split, :split] @ source) * source).sum(0)
    within_target = ((kernel[split:, split:] @ target) * target).sum(0)
    across = source.T @ kernel[:split, split:] @ target
    return within_source[:, None] + within_target - 2 * across, (source_total > 0) & (target_total > 0)


def _masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    return (values * mask).sum() / mask.sum().clamp(min=1)
