"""Convolutions whose weights are mixed from experts, for a whole batch or for each image separately."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

Pair = tuple[int, int]

_MANY = 4
"""Weights per activation from which it is faster to convolve all images of a domain together.

With 5 domains in 16 images this is 3 times faster at 29 weights per activation. At 4 it is 1.3 times faster if there
are many weights and activations, and equally fast if there are few (tests/benchmarks/test_mixing_speed.py).
"""

_VERY_MANY = 12
_FEW = 64
"""Limits for convolving an image that has its own mixture with all experts.

This is used from ``_VERY_MANY`` weights per activation, and up to ``_FEW`` for the number of experts times the number
of output positions. With 16 images and 4 experts it is equally fast at 16 positions and 18 weights per activation, and
5 times faster at 1 and 1152 (the same benchmark).
"""


def mix_experts(
    gates: Float[Tensor, "domains experts"], experts: Float[Tensor, "experts out in_group height width"]
) -> Float[Tensor, "domains out in_group height width"]:
    """Sum of the experts, weighted by their gates: weights of one convolution for each domain."""
    return (gates @ experts.flatten(1)).unflatten(1, experts.shape[1:])


def convolve_each(
    image: Float[Tensor, "batch in height width"],
    experts: Float[Tensor, "experts out in_group kernel_height kernel_width"],
    gates: Float[Tensor, "domains experts"],
    domain_index: Int64[Tensor, " batch"],
    stride: Pair = (1, 1),
    padding: Pair | str = (0, 0),
    dilation: Pair = (1, 1),
    groups: int = 1,
) -> Float[Tensor, "batch out new_height new_width"]:
    """Convolve each image with the mixed weights of its domain, by the fastest implementation.

    Args:
        image: Images in any order.
        experts: Weights of each expert.
        gates: Gates of each domain.
        domain_index: Index of the domain of each image.
        stride: Stride of the convolution, as in ``torch.nn.functional.conv2d``.
        padding: Zero padding, as in ``torch.nn.functional.conv2d``.
        dilation: Dilation of the kernel, as in ``torch.nn.functional.conv2d``.
        groups: Number of channel groups, as in ``torch.nn.functional.conv2d``.
    """
    settings = (stride, padding, dilation, groups)
    if (
        image.device.type == "cpu"
    ):  # on a GPU, convolve_by_domain would have to wait, and convolve_by_expert is not measured
        # one call reads the weights again for each image, which dominates if there are many weights per activation
        is_domain_shared = len(gates) < len(image)
        per_activation = experts[0].numel() / image.shape[1:].numel()
        if is_domain_shared and per_activation >= _MANY:
            return convolve_by_domain(image, mix_experts(gates, experts), domain_index, *settings)
        places = image.shape[2:].numel() / (stride[0] * stride[1])  # positions of the output, except for its edges
        are_places_few = per_activation >= _VERY_MANY and places * len(experts) <= _FEW
        if not is_domain_shared and groups == 1 and are_places_few:
            return convolve_by_expert(image, experts, gates[domain_index], *settings)
    return convolve_by_image(image, mix_experts(gates, experts)[domain_index], *settings)


def convolve_by_image(
    image: Float[Tensor, "batch in height width"],
    weight: Float[Tensor, "batch out in_group kernel_height kernel_width"],
    stride: Pair = (1, 1),
    padding: Pair | str = (0, 0),
    dilation: Pair = (1, 1),
    groups: int = 1,
) -> Float[Tensor, "batch out new_height new_width"]:
    """Convolve each image with its own weights, in one call with one group for each image."""
    batch = len(image)
    merged = F.conv2d(image.flatten(0, 1)[None], weight.flatten(0, 1), None, stride, padding, dilation, groups * batch)
    return merged.unflatten(1, (batch, -1))[0]


def convolve_by_domain(
    image: Float[Tensor, "batch in height width"],
    weight: Float[Tensor, "domains out in_group kernel_height kernel_width"],
    domain_index: Int64[Tensor, " batch"],
    stride: Pair = (1, 1),
    padding: Pair | str = (0, 0),
    dilation: Pair = (1, 1),
    groups: int = 1,
) -> Float[Tensor, "batch out new_height new_width"]:
    """Convolve each image with the weights of its domain, with one call for all images of a domain."""
    order = domain_index.argsort(stable=True)
    counts = domain_index.bincount(minlength=len(weight)).tolist()
    parts = [
        F.conv2d(part, of_domain, None, stride, padding, dilation, groups)
        for part, of_domain in zip(image[order].split(counts), weight, strict=True)
        if len(part)
    ]
    return torch.cat(parts)[order.argsort()]


def convolve_by_expert(
    image: Float[Tensor, "batch in height width"],
    experts: Float[Tensor, "experts out in_group kernel_height kernel_width"],
    gates: Float[Tensor, "batch experts"],
    stride: Pair = (1, 1),
    padding: Pair | str = (0, 0),
    dilation: Pair = (1, 1),
    groups: int = 1,
) -> Float[Tensor, "batch out new_height new_width"]:
    """Convolve each image with all experts in one call, in which the experts are additional input channels.

    A convolution is linear, so the image is multiplied by the gates, and no weights are mixed.
    """
    of_group = image.unflatten(1, (groups, 1, -1))
    weighed = (gates[:, None, :, None, None, None] * of_group).flatten(1, 3)
    return F.conv2d(weighed, experts.transpose(0, 1).flatten(1, 2), None, stride, padding, dilation, groups)
