"""Resizing of logits and of optical flow, which also has to be rescaled."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def resize_logits(
    logits: Float[Tensor, "batch classes height width"], like: Tensor
) -> Float[Tensor, "batch classes h w"]:
    """Interpolate logits bilinearly to the height and width of ``like``, an image or a mask."""
    return F.interpolate(logits, like.shape[-2:], mode="bilinear", align_corners=False)


def resize_flow(flow: Float[Tensor, "batch 2 height width"], like: Tensor) -> Float[Tensor, "batch 2 h w"]:
    """Flow at the height and width of ``like``, in cells of that resolution.

    The flow is averaged when it shrinks, so that each cell moves with the mean of its pixels, and interpolated when it
    grows. The ratio of both sizes is used as the size of a cell. If the frame's size is no multiple of the net's
    stride, this differs slightly from the stride: at stride 16, 360 rows give 23 cells, and displacements are 2 % too
    long.
    """
    before, after = tuple(flow.shape[-2:]), (like.shape[-2], like.shape[-1])
    if before == after:
        return flow
    shrinks = after[0] <= before[0] and after[1] <= before[1]
    resized = F.adaptive_avg_pool2d(flow, after) if shrinks else F.interpolate(flow, after, mode="bilinear")
    return resized * flow.new_tensor([after[1] / before[1], after[0] / before[0]]).view(1, 2, 1, 1)
