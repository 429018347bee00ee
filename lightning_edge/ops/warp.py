"""Backward warping of feature maps by optical flow."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from lightning_edge.ops.precision import at_least_float32


def warp(
    features: Float[Tensor, "batch channels height width"], flow: Float[Tensor, "batch 2 height width"]
) -> Float[Tensor, "batch channels height width"]:
    """Sample ``features`` bilinearly at the positions that ``flow`` points to, with zeros outside.

    This is the propagation of Deep Feature Flow (Zhu et al. 2017, arXiv:1611.07715) and Accel (arXiv:1807.06667).

    Args:
        features: Feature map of an earlier frame.
        flow: Displacement ``(right, down)`` from each cell of the present frame to where it was in the earlier one,
            in cells of the feature map.

    Returns:
        ``out[..., i, j] = features[..., i + flow[:, 1, i, j], j + flow[:, 0, i, j]]``.

    Example:
        >>> flow = torch.tensor([[[[1.0, 1.0, 1.0]], [[0.0, 0.0, 0.0]]]])
        >>> warp(torch.tensor([[[[1.0, 2.0, 3.0]]]]), flow)
        tensor([[[[2., 3., 0.]]]])
    """
    height, width = features.shape[-2:]
    flow = at_least_float32(flow)  # half precision cannot distinguish the columns 256 and 257
    rows = torch.arange(height, device=flow.device, dtype=flow.dtype)
    columns = torch.arange(width, device=flow.device, dtype=flow.dtype)
    # -1 and 1 are the outer borders of the first and the last cell
    x = (2 * (columns + flow[:, 0]) + 1) / width - 1
    y = (2 * (rows[:, None] + flow[:, 1]) + 1) / height - 1
    grid = torch.stack((x, y), dim=-1)
    precise = features.to(torch.promote_types(features.dtype, grid.dtype))
    warped = F.grid_sample(precise, grid.to(precise.dtype), mode="bilinear", padding_mode="zeros", align_corners=False)
    return warped.to(features.dtype)
