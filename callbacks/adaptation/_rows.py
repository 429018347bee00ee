"""Features and logits of samples or pixels, one per row, from batches of an evaluation."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from callbacks.adaptation._pair import pooled
from lightning_edge.contracts import IGNORE_INDEX, UNKNOWN_CLASS


class Rows(NamedTuple):
    """Features and logits of samples, pixels or cells, and their labels if they are of the source, otherwise zeros."""

    features: Tensor
    logits: Tensor
    labels: Tensor


def rows_of(features: Tensor, logits: Tensor, source_batch: Any) -> Rows:
    """Rows of a batch: samples of classification, or pixels of a map of logits. Only labeled ones of the source.

    Args:
        features: Input of the layer.
        logits: Its output, ``[batch, classes]`` or ``[batch, classes, height, width]``.
        source_batch: The batch; ``None`` for a target batch, whose labels are not used.

    Raises:
        ValueError: The batch does not have one label for each sample or pixel.
    """
    labels = None if source_batch is None else _labels(source_batch, logits)
    unknown = UNKNOWN_CLASS if logits.ndim == 2 else IGNORE_INDEX
    if logits.ndim == 2:
        features = pooled(features)
    else:
        features, logits = _pixels(features), _pixels(logits)
    if labels is None:
        return Rows(features, logits, torch.zeros(len(logits), device=logits.device))
    is_labeled = labels != unknown
    return Rows(features[is_labeled], logits[is_labeled], labels[is_labeled])


def joined(rows: Sequence[Rows]) -> Rows | None:
    """The rows of several batches; ``None`` if there are none."""
    return Rows._make(map(torch.cat, zip(*rows, strict=True))) if rows else None


def _labels(batch: Any, logits: Tensor) -> Tensor:
    """Class of each sample, or of each pixel of a map of logits."""
    labels = batch.get("mask", batch.get("label")) if isinstance(batch, dict) else None
    if isinstance(labels, Tensor) and labels.ndim == 3 and logits.ndim == 4:
        labels = F.interpolate(labels[:, None].float(), size=logits.shape[-2:], mode="nearest").long().flatten()
    if not isinstance(labels, Tensor) or len(labels) != logits[:, 0].numel():
        raise ValueError(
            "expected one label for each sample or pixel whose logits layer returns, got logits of shape "
            f"{list(logits.shape)} and batches of {list(batch) if isinstance(batch, dict) else type(batch).__name__}"
        )
    return labels


def _pixels(maps: Tensor) -> Tensor:
    return maps.flatten(2).transpose(1, 2).flatten(0, 1)
