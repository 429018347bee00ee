"""Convolutions whose weights are mixed from experts, alike for a whole batch or another for each image."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

Pair = tuple[int, int]

_MANY = 4
"""Weights for an activation from which the images of a domain are better convolved together.

With 5 domains in 16 images that is 3 times faster at 29 weights, 1.3 times faster at 4 and many of both, and alike at 4
and few of both (tests/benchmarks/test_mixing_speed.py).
"""

_VERY_MANY = 12
_FEW = 64
"""Weights for an activation from which, and experts times places up to which, an image that has a mixture of its own is
better convolved with all experts.

With 16 images and 4 experts that is alike at 16 places and 18 weights, and 5 times faster at 1 and 1152 (the same
benchmark).
"""


def mix_experts(
    gates: Float[Tensor, "domains experts"], experts: Float[Tensor, "experts out in_group height width"]
) -> Float[Tensor, "domains out in_group height width"]:
    """Sum of the experts, each by its gate: weights of one convolution for each domain."""
    return (gates @ experts.flatten(1)).unflatten(1, experts.shape[1:])


def convolve_each(
    image: Float[Tensor, "batch in height width"],
    experts: Float[Tensor, "experts out in_group kernel_height kernel_width"],
    gates: Float[Tensor, "domains experts"],
    row: Int64[Tensor, " batch"],
    stride: Pair = (1, 1),
    padding: Pair | str = (0, 0),
    dilation: Pair = (1, 1),
    groups: int = 1,
) -> Float[Tensor, "batch out new_height new_width"]:
    """Convolve each image with the mixed weights of its domain, in the way that is fastest.

    Args:
        image: Images in any order.
        experts: Weights of each expert.
        gates: Of each domain.
        row: Domain of each image.
        stride: As of ``torch.nn.functional.conv2d``, like all that follows.
        padding: Of zeros.
        dilation: Of the kernel.
        groups: Of channels.
    """
    settings = (stride, padding, dilation, groups)
    if image.device.type == "cpu":  # by domain a GPU would have to be waited for; by expert is not measured there
        # one call reads weights for each image anew, which costs more than its few activations where weights are many
        is_domain_shared = len(gates) < len(image)
        per_activation = experts[0].numel() / image.shape[1:].numel()
        if is_domain_shared and per_activation >= _MANY:
            return convolve_by_domain(image, mix_experts(gates, experts), row, *settings)
        places = image.shape[2:].numel() / (stride[0] * stride[1])  # of the output, but for its edges
        are_places_few = per_activation >= _VERY_MANY and places * len(experts) <= _FEW
        if not is_domain_shared and groups == 1 and are_places_few:
            return convolve_by_expert(image, experts, gates[row], *settings)
    return convolve_by_image(image, mix_experts(gates, experts)[row], *settings)


def convolve_by_image(
    image: Float[Tensor, "batch in height width"],
    weight: Float[Tensor, "batch out in_group kernel_height kernel_width"],
    stride: Pair = (1, 1),
    padding: Pair | str = (0, 0),
    dilation: Pair = (1, 1),
    groups: int = 1,
) -> Float[Tensor, "batch out new_height new_width"]:
    """Convolve each image with weights of its own, all in one call of as many groups as there are images."""
    batch = len(image)
    merged = F.conv2d(image.flatten(0, 1)[None], weight.flatten(0, 1), None, stride, padding, dilation, groups * batch)
    return merged.unflatten(1, (batch, -1))[0]


def convolve_by_domain(
    image: Float[Tensor, "batch in height width"],
    weight: Float[Tensor, "domains out in_group kernel_height kernel_width"],
    row: Int64[Tensor, " batch"],
    stride: Pair = (1, 1),
    padding: Pair | str = (0, 0),
    dilation: Pair = (1, 1),
    groups: int = 1,
) -> Float[Tensor, "batch out new_height new_width"]:
    """Convolve each image with the weights of its domain, the images of a domain together."""
    order = row.argsort(stable=True)
    counts = row.bincount(minlength=len(weight)).tolist()
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
    """Convolve each image with all experts, by gates of its own, in one call that takes the experts for input channels.

    A convolution is linear, so the image is weighed in place of the weights, and none are mixed.
    """
    of_group = image.unflatten(1, (groups, 1, -1))
    weighed = (gates[:, None, :, None, None, None] * of_group).flatten(1, 3)
    return F.conv2d(weighed, experts.transpose(0, 1).flatten(1, 2), None, stride, padding, dilation, groups)
