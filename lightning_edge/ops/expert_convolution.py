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


def mix_experts(
    gates: Float[Tensor, "domains experts"], experts: Float[Tensor, "experts out in_group height width"]
) -> Float[Tensor, "domains out in_group height width"]:
    """Sum of the experts, each by its gate: weights of one convolution for each domain."""
    return (gates @ experts.flatten(1)).unflatten(1, experts.shape[1:])


def convolve_each(
    image: Float[Tensor, "batch in height width"],
    weight: Float[Tensor, "domains out in_group kernel_height kernel_width"],
    row: Int64[Tensor, " batch"],
    stride: Pair = (1, 1),
    padding: Pair | str = (0, 0),
    dilation: Pair = (1, 1),
    groups: int = 1,
) -> Float[Tensor, "batch out new_height new_width"]:
    """Convolve each image with the weights of its domain, in the way that is faster.

    Args:
        image: Images in any order.
        weight: Weights for each domain.
        row: Domain of each image.
        stride: As of ``torch.nn.functional.conv2d``, like all that follows.
        padding: Of zeros.
        dilation: Of the kernel.
        groups: Of channels.
    """
    # one call reads weights for each image anew, which costs more than its few activations where weights are many
    are_weights_many = len(weight) < len(image) and weight[0].numel() >= _MANY * image[0].numel()
    if are_weights_many and image.device.type == "cpu":  # a GPU would have to be waited for
        return convolve_by_domain(image, weight, row, stride, padding, dilation, groups)
    return convolve_by_image(image, weight[row], stride, padding, dilation, groups)


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
