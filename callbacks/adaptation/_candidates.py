"""Candidates of a detector: the cells of its map with the highest logits, one per row."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from callbacks.adaptation._rows import Rows
from lightning_edge.ops.center_targets import cell_centers
from lightning_edge.ops.precision import at_least_float32

_NUM_CANDIDATES = 32
"""Largest number of candidates of an image, more than the number of objects in most images."""


def candidates_of(features: Tensor, logits: Tensor, source_batch: Any, image_height: int, num_classes: int) -> Rows:
    """Rows of a batch of a detector that scores each class in each cell of a map, as ``CenterDetector`` does.

    A candidate is a cell whose highest logit is at least as high as those of its eight neighbors. The background is a
    further class behind the others, whose logit is 0. So a candidate is predicted as an object if its score is above
    0.5, and the softmax of one class and the background is the sigmoid of the class. The label of a candidate of the
    source is the class of the smallest box around the center of its cell. Candidates that are only in ignored boxes are
    left out. If a logit is NaN, the map has rows of NaN.

    Args:
        features: Input of the layer, a map.
        logits: Its output, ``[batch, classes, height, width]``.
        source_batch: The batch; ``None`` for a target batch, whose labels are not used.
        image_height: Height of the images of the batch, in pixels.
        num_classes: Number of classes without the background.

    Raises:
        ValueError: The logits are not those of the classes in a map.
    """
    if logits.ndim != 4 or logits.shape[1] != num_classes or features.shape[-2:] != logits.shape[-2:]:
        raise ValueError(
            f"expected layer as one that gives a logit of each of {num_classes} classes in each cell of a map, for "
            f"detection, got outputs of shape {list(logits.shape)}"
        )
    height, width = logits.shape[-2:]
    highest = logits.amax(1)
    # NaN is no number of the neighborhood, but the scores must not hide it
    is_peak = (highest == F.max_pool2d(highest[:, None], 3, 1, 1)[:, 0]) | highest.isnan()
    peaks, cells = torch.where(is_peak, highest, -torch.inf).flatten(1).topk(min(_NUM_CANDIDATES, height * width))
    is_kept = peaks != -torch.inf  # an image may have fewer peaks
    images = torch.arange(len(cells), device=cells.device)[:, None]
    rows, columns = cells // width, cells % width
    labels = torch.zeros_like(cells)
    if source_batch is not None:
        stride = round(image_height / height)  # encoders round the size of maps up
        centers = cell_centers(height, width, stride, at_least_float32(logits))[rows, columns]
        labels = torch.stack(
            [_classes_at(points, source_batch, image, num_classes) for image, points in enumerate(centers)]
        )
        is_kept &= labels >= 0
    logits = F.pad(logits[images, :, rows, columns], (0, 1))
    return Rows(features[images, :, rows, columns][is_kept], logits[is_kept], labels[is_kept])


def _classes_at(points: Tensor, batch: Any, image: int, background: int) -> Tensor:
    """Class of the smallest box around each point, -1 if only ignored boxes are around it, or the background."""
    boxes, label, ignored = (batch[key][image] for key in ("boxes_xyxy", "label", "ignored_xyxy"))
    background_labels = torch.full_like(points[:, 0], background, dtype=torch.long)
    unlabeled = _smallest(points, ignored, label.new_full((len(ignored),), -1), background_labels)
    return _smallest(points, boxes, label, unlabeled)


def _smallest(points: Tensor, boxes: Tensor, label: Tensor, otherwise: Tensor) -> Tensor:
    """Label of the smallest box around each point, or another value if there is none."""
    if not len(boxes):
        return otherwise
    is_within = ((points[:, None] >= boxes[:, :2]) & (points[:, None] <= boxes[:, 2:])).all(-1)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(-1)
    smallest = torch.where(is_within, areas, torch.inf).argmin(1)
    return torch.where(is_within.any(1), label[smallest], otherwise)
