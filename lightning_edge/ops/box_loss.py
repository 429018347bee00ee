"""Box loss from the overlap of boxes."""

import torch
from jaxtyping import Float
from torch import Tensor

_TINY = 1e-7


def generalized_iou_loss(
    boxes: Float[Tensor, "*places 4"], target: Float[Tensor, "*places 4"]
) -> Float[Tensor, "*places"]:
    """One minus the generalized IoU (arXiv:1902.09630) of pairs of boxes with corners x1, y1, x2, y2.

    It equals ``torchvision.ops.generalized_box_iou_loss``. But that function selects the overlapping boxes, for which
    the host has to wait for the GPU, and which a CUDA graph does not support.
    """
    low, high = torch.maximum(boxes[..., :2], target[..., :2]), torch.minimum(boxes[..., 2:], target[..., 2:])
    outer_low, outer_high = (
        torch.minimum(boxes[..., :2], target[..., :2]),
        torch.maximum(boxes[..., 2:], target[..., 2:]),
    )
    shared, outer = _area((high - low).clamp(min=0)), _area(outer_high - outer_low)
    areas = [_area(box[..., 2:] - box[..., :2]) for box in (boxes, target)]
    union = areas[0] + areas[1] - shared
    return 1 - shared / (union + _TINY) + (outer - union) / (outer + _TINY)


def _area(size: Float[Tensor, "*places 2"]) -> Float[Tensor, "*places"]:
    return size[..., 0] * size[..., 1]  # the gradient of torch.prod searches for zeros, which is slow
