"""Maximum mean discrepancy (MMD): distance of the means of two domains in the space of kernels."""

import operator
from collections.abc import Callable, Sequence
from functools import reduce

import torch
from jaxtyping import Float
from torch import Tensor

from lightning_edge.ops.adaptation.domain_batches import check_domains
from lightning_edge.ops.adaptation.finite_loss import finite_loss
from lightning_edge.ops.adaptation.gaussian_kernels import MULTIPLES, Bandwidth, gaussian_kernels, sum_of_gaussians


@finite_loss
def mmd(
    source: Float[Tensor, "source features"],
    target: Float[Tensor, "target features"],
    multiples: Sequence[float] = MULTIPLES,
    bandwidth: Bandwidth = "mean",
    is_unbiased: bool = False,
) -> Float[Tensor, ""]:
    """Squared maximum mean discrepancy of two domains with a sum of Gaussian kernels.

    The estimators are those of Gretton et al. 2012, "A kernel two-sample test". The sum of kernels is that of DAN
    (arXiv:1502.02791), all with weight 1 as in its code; the paper learns the weights.

    Args:
        source: Features of the source domain.
        target: Features of the target domain.
        multiples: Multiple of the bandwidth of each kernel.
        bandwidth: ``mean`` or ``median`` of the squared distances of all distinct samples, or its value.
        is_unbiased: Whether samples are not compared with themselves. The estimate may then be negative; otherwise it
            is 0 or more, and 0 for equal sets.

    Raises:
        ValueError: Features differ in number or are not finite, a domain has no samples (only one, if unbiased), or a
            bandwidth is not above 0.
    """
    check_domains(source, target, least=2 if is_unbiased else 1)
    kernel = gaussian_kernels(torch.cat([source, target]), multiples, bandwidth)
    return _discrepancy(kernel, len(source), is_unbiased)


@finite_loss
def joint_mmd(
    source_layers: Sequence[Float[Tensor, "source _"]],
    target_layers: Sequence[Float[Tensor, "target _"]],
    multiples: Sequence[float] = MULTIPLES,
    bandwidth: Bandwidth = "mean",
    is_unbiased: bool = False,
) -> Float[Tensor, ""]:
    """Squared joint maximum mean discrepancy of several layers (JAN, arXiv:1605.06636).

    The kernel of two samples is the product over layers of a sum of Gaussian kernels. All layers have the same
    multiples, as in the paper; its code takes a single kernel of bandwidth 1.68 for the class probabilities.

    Args:
        source_layers: Features of the source domain in each layer, for example those before the classifier and the
            class probabilities.
        target_layers: The same of the target domain.
        multiples: Multiple of the bandwidth of each kernel.
        bandwidth: ``mean`` or ``median`` of the squared distances of all distinct samples in a layer, or its value.
        is_unbiased: Whether samples are not compared with themselves.

    Raises:
        ValueError: There are no layers or their number differs, features of a layer differ in number or are not finite,
            a domain has too few samples, or a bandwidth is not above 0.
    """
    if not source_layers or len(source_layers) != len(target_layers):
        raise ValueError(
            f"expected as many layers of the source as of the target, one or more, "
            f"got {len(source_layers)} and {len(target_layers)}"
        )
    for source, target in zip(source_layers, target_layers, strict=True):
        check_domains(source, target, least=2 if is_unbiased else 1)
    kernels = [
        gaussian_kernels(torch.cat([source, target]), multiples, bandwidth)
        for source, target in zip(source_layers, target_layers, strict=True)
    ]
    return _discrepancy(reduce(operator.mul, kernels), len(source_layers[0]), is_unbiased)


@finite_loss
def linear_time_mmd(
    source: Float[Tensor, "source features"],
    target: Float[Tensor, "target features"],
    multiples: Sequence[float] = MULTIPLES,
    bandwidth: Bandwidth = "mean",
) -> Float[Tensor, ""]:
    """Unbiased estimate of the squared maximum mean discrepancy in linear time (Gretton et al. 2012, lemma 14).

    DAN (arXiv:1502.02791) trains with it. Samples 2i and 2i+1 of one domain are compared with the same of
    the other one, so that the order of a batch should be random. Samples that the longer batch has in excess, and an
    odd one, do not count. The estimate varies more than that of :func:`mmd` and may be negative.

    Args:
        source: Features of the source domain.
        target: Features of the target domain.
        multiples: Multiple of the bandwidth of each kernel.
        bandwidth: ``mean`` or ``median`` of the squared distances of the compared samples, or its value.

    Raises:
        ValueError: Features differ in number or are not finite, a domain has fewer than two samples, or a bandwidth is
            not above 0.
    """
    check_domains(source, target, least=2)
    pairs = min(len(source), len(target)) // 2
    source_even, source_odd = source[: 2 * pairs : 2], source[1 : 2 * pairs : 2]
    target_even, target_odd = target[: 2 * pairs : 2], target[1 : 2 * pairs : 2]
    differences = torch.stack(
        [source_even - source_odd, target_even - target_odd, source_even - target_odd, source_odd - target_even]
    )
    distances = differences.square().sum(2)
    kernels = sum_of_gaussians(distances, distances.flatten(), multiples, bandwidth).mean(1)
    return kernels[0] + kernels[1] - kernels[2] - kernels[3]


def _discrepancy(kernel: Tensor, num_source: int, is_unbiased: bool) -> Tensor:
    """Squared discrepancy of the first samples from the others, by the kernel of all pairs."""
    mean: Callable[[Tensor], Tensor] = _mean_of_distinct if is_unbiased else torch.mean
    source, target = kernel[:num_source, :num_source], kernel[num_source:, num_source:]
    return mean(source) + mean(target) - 2 * kernel[:num_source, num_source:].mean()


def _mean_of_distinct(kernel: Tensor) -> Tensor:
    return (kernel.sum() - kernel.trace()) / (len(kernel) * (len(kernel) - 1))
