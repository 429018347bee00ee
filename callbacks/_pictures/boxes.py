"""Detected boxes as arrays, for drawing and writing."""

from typing import Any, NamedTuple, TypeGuard

import numpy as np
from jaxtyping import Float, Int64
from torch import Tensor

from lightning_edge.contracts import Detections


class Boxes(NamedTuple):
    """Boxes in one image."""

    xyxy: Float[np.ndarray, "boxes 4"]
    label: Int64[np.ndarray, " boxes"]
    score: Float[np.ndarray, " boxes"] | None = None
    """Scores of detected boxes; ``None`` for true boxes."""


def are_detections(outputs: Any) -> TypeGuard[list[Detections]]:
    """Whether a step returned a list with the detections of each image."""
    return isinstance(outputs, list) and all(isinstance(detections, Detections) for detections in outputs)


def boxes_of(detections: Detections, min_score: float) -> Boxes:
    """The boxes with a score of at least ``min_score``."""
    is_kept = detections.score >= min_score
    return Boxes(
        as_array(detections.boxes_xyxy[is_kept]),
        as_array(detections.label[is_kept]),
        as_array(detections.score[is_kept]),
    )


def as_array(tensor: Tensor) -> np.ndarray:
    """Convert a tensor on any device and with any precision."""
    tensor = tensor.detach().cpu()
    return (tensor.float() if tensor.is_floating_point() else tensor).numpy()
