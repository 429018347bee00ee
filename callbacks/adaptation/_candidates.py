"""Candidates of a detector: the cells with the highest logits, one in a row."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from callbacks.adaptation._rows import Rows
from lightning_edge.ops.center_targets import cell_centers

_NUM_CANDIDATES = 32
"""Largest number of candidates of an image, which is more than most images have objects."""


def candidates_of(features: Tensor, logits: Tensor, source_batch: Any, image_height: int) -> Rows:
    """Rows of a batch of a detector that scores each class in each cell of a map, as ``CenterDetector`` does.

    A candidate is a cell whose highest logit is that of its neighborhood. The background is a further class behind the
    others, whose logit is 0. So a candidate is predicted as an object if its score is above 0.5, and the softmax of one
    class and the background is the sigmoid of the class. The label of a candidate of the source is the class of the
    smallest box around the center of its cell. Candidates in ignored boxes alone are left out.

    Args:
        features: Input of the layer, a map.
        logits: Its output, ``[batch, classes, height, width]``.
        source_batch: The batch; ``None`` for a target batch, whose labels are not used.
        image_height: Height of the images of the batch, in pixels.

    Raises:
        ValueError: The logits are not those of a map.
    """
    if logits.ndim != 4 or features.shape[-2:] != logits.shape[-2:]:
        raise ValueError(
            "expected layer as one that gives a logit of each class in each cell of a map, for detection, got outputs "
            f"of shape {list(logits.shape)}"
        )
    _, num_classes, height, width = logits.shape
    best = logits.amax(1)
    is_peak = best == F.max_pool2d(best[:, None], 3, 1, 1)[:, 0]
    scores, cells = torch.where(is_peak, best, -torch.inf).flatten(1).topk(min(_NUM_CANDIDATES, height * width))
    is_kept = scores > -torch.inf  # an image may have fewer peaks
    images = torch.arange(len(cells), device=cells.device)[:, None]
    rows, columns = cells // width, cells % width
    labels = torch.zeros_like(cells)
    if source_batch is not None:
        centers = cell_centers(height, width, image_height // height, logits)[rows, columns]
        labels = torch.stack(
            [_classes_at(points, source_batch, image, num_classes) for image, points in enumerate(centers)]
        )
        is_kept &= labels >= 0
    logits = F.pad(logits[images, :, rows, columns], (0, 1))
    return Rows(features[images, :, rows, columns][is_kept], logits[is_kept], labels[is_kept])


def _classes_at(points: Tensor, batch: Any, image: int, background: int) -> Tensor:
    """Class of the smallest box around each point, -1 if only ignored boxes are around it, or the background."""
    boxes, label, ignored = (batch[key][image] for key in ("boxes_xyxy", "label", "ignored_xyxy"))
    outside = torch.full_like(points[:, 0], background, dtype=torch.long)
    outside = _smallest(points, ignored, outside.new_full((len(ignored),), -1), outside)
    return _smallest(points, boxes, label, outside)


def _smallest(points: Tensor, boxes: Tensor, label: Tensor, otherwise: Tensor) -> Tensor:
    """Label of the smallest box around each point, or another value if there is none."""
    if not len(boxes):
        return otherwise
    is_within = ((points[:, None] >= boxes[:, :2]) & (points[:, None] <= boxes[:, 2:])).all(-1)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(-1)
    smallest = torch.where(is_within, areas, torch.inf).argmin(1)
    return torch.where(is_within.any(1), label[smallest], otherwise)
