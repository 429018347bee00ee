"""Resizing of what a net computes: scores are interpolated; flow is also measured in other cells."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def resize_logits(
    scores: Float[Tensor, "batch classes height width"], like: Tensor
) -> Float[Tensor, "batch classes h w"]:
    """Interpolate scores (logits) bilinearly to the height and width of ``like``, an image or a mask."""
    return F.interpolate(scores, like.shape[-2:], mode="bilinear", align_corners=False)


def resize_flow(flow: Float[Tensor, "batch 2 height width"], like: Tensor) -> Float[Tensor, "batch 2 h w"]:
    """Flow at the height and width of ``like``, in cells of that resolution.

    Averages when it shrinks, so that each cell moves with the mean of its pixels, and interpolates when it grows. A
    cell is taken to be the ratio of both sizes wide. A net's stride is a little more where the frame is no multiple of
    it: at stride 16, 360 rows give 23 cells, and displacements are 2 % too long.
    """
    before, after = tuple(flow.shape[-2:]), (like.shape[-2], like.shape[-1])
    if before == after:
        return flow
    shrinks = after[0] <= before[0] and after[1] <= before[1]
    resized = F.adaptive_avg_pool2d(flow, after) if shrinks else F.interpolate(flow, after, mode="bilinear")
    return resized * flow.new_tensor([after[1] / before[1], after[0] / before[0]]).view(1, 2, 1, 1)
