"""Targets of an anchor-free detector at each cell: centers of objects and distances to the sides of their boxes.

They follow *Training-Time-Friendly Network* (arXiv:1909.00700). A box is learned not only at the center of its object
but also at the cells around it, which needs far fewer training steps.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor

REACH = 0.54
"""Share of a box, in each direction, whose cells learn the box.

Source: arXiv:1909.00700, alpha = beta = 0.54.
"""


class PaddedBoxes(NamedTuple):
    """Boxes of a batch, padded to the largest number of boxes in an image, and to at least one."""

    boxes_xyxy: Float[Tensor, "batch boxes 4"]
    label: Int64[Tensor, "batch boxes"]
    is_box: Bool[Tensor, "batch boxes"]


class CenterTargets(NamedTuple):
    """Targets at each cell of a feature map."""

    heat: Float[Tensor, "batch classes h w"]
    """1 at the center of an object of the class, less around it, 0 out of its reach."""
    boxes_xyxy: Float[Tensor, "batch h w 4"]
    """Box of the smallest object within whose reach the cell is, in pixels; 0 elsewhere."""
    weight: Float[Tensor, "batch h w"]
    """Weight of the cell in the box loss. The weights of each object that smaller ones do not hide sum to 1."""


def pad_boxes(boxes_xyxy: list[Float[Tensor, "_ 4"]], label: list[Int64[Tensor, " _"]]) -> PaddedBoxes:
    """Stack the boxes and labels of the images of a batch into padded tensors."""
    counts = [len(one) for one in label]
    most = max(1, *counts)
    padded = torch.stack([F.pad(boxes, (0, 0, 0, most - len(boxes))) for boxes in boxes_xyxy])
    labels = torch.stack([F.pad(one, (0, most - len(one))) for one in label])
    numbers = torch.arange(most, device=padded.device)
    return PaddedBoxes(padded, labels, numbers < torch.tensor(counts, device=padded.device)[:, None])


def cell_centers(height: int, width: int, stride: int, like: Tensor) -> Float[Tensor, "h w 2"]:
    """Centers (x, y) of the cells of a feature map, in pixels."""
    x = (torch.arange(width, device=like.device, dtype=like.dtype) + 0.5) * stride
    y = (torch.arange(height, device=like.device, dtype=like.dtype) + 0.5) * stride
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), -1)


def center_targets(boxes: PaddedBoxes, num_classes: int, height: int, width: int, stride: int) -> CenterTargets:
    """Targets for feature maps of the given height and width, whose cells are ``stride`` pixels wide."""
    bumps = _bumps(boxes, height, width, stride)
    areas = (boxes.boxes_xyxy[..., 2:] - boxes.boxes_xyxy[..., :2]).prod(-1)[..., None, None]
    # if several objects share a cell, it belongs to the smallest, because the others have more cells
    smallest = torch.where(bumps > 0, areas, torch.inf).argmin(1)
    owner = F.one_hot(smallest, bumps.shape[1]).movedim(-1, 1) * bumps
    weight = owner / owner.sum((2, 3), keepdim=True).clamp(min=1e-6)
    is_owned = owner.amax(1) > 0
    target = boxes.boxes_xyxy[torch.arange(len(bumps), device=bumps.device)[:, None, None], smallest]
    return CenterTargets(_heat(bumps, boxes.label, num_classes), target * is_owned[..., None], weight.sum(1))


def cells_within(
    boxes: PaddedBoxes, num_classes: int, height: int, width: int, stride: int
) -> Bool[Tensor, "batch classes h w"]:
    """Cells whose centers are in a box of the class."""
    center = cell_centers(height, width, stride, boxes.boxes_xyxy)
    low, high = boxes.boxes_xyxy[:, :, None, None, :2], boxes.boxes_xyxy[:, :, None, None, 2:]
    is_within = ((center >= low) & (center <= high)).all(-1) & boxes.is_box[..., None, None]
    return _heat(is_within.float(), boxes.label, num_classes) > 0


def _bumps(boxes: PaddedBoxes, height: int, width: int, stride: int) -> Float[Tensor, "batch boxes h w"]:
    """For each object, 1 at the cell of its center, a Gaussian within its reach, and 0 outside."""
    low, high = boxes.boxes_xyxy[..., :2] / stride, boxes.boxes_xyxy[..., 2:] / stride
    middle = ((low + high) / 2).floor().clamp(min=0)
    middle = torch.stack([middle[..., 0].clamp(max=width - 1), middle[..., 1].clamp(max=height - 1)], -1)[
        :, :, None, None
    ]
    radius = (REACH / 2 * (high - low)).floor()[:, :, None, None]
    x, y = torch.arange(width, device=low.device), torch.arange(height, device=low.device)
    offset = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1) - middle
    sigma = (2 * radius + 1) / 6
    bump = (-(offset**2) / (2 * sigma**2)).sum(-1).exp()
    return bump * ((offset.abs() <= radius).all(-1) & boxes.is_box[..., None, None])


def _heat(
    bumps: Float[Tensor, "batch boxes h w"], label: Int64[Tensor, "batch boxes"], num_classes: int
) -> Float[Tensor, "batch classes h w"]:
    heat = bumps.new_zeros(len(bumps), num_classes, *bumps.shape[2:])
    return heat.scatter_reduce(1, label[..., None, None].expand_as(bumps), bumps, "amax")
