"""What a detector found, as arrays to draw and write."""

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
    """None of those that are true."""


def are_detections(outputs: Any) -> TypeGuard[list[Detections]]:
    """Whether a step returned what a detector found in each image."""
    return isinstance(outputs, list) and all(isinstance(found, Detections) for found in outputs)


def boxes_of(found: Detections, min_score: float) -> Boxes:
    """Those that are at least so sure."""
    sure = found.score >= min_score
    return Boxes(as_array(found.boxes_xyxy[sure]), as_array(found.label[sure]), as_array(found.score[sure]))


def as_array(tensor: Tensor) -> np.ndarray:
    """A tensor of any device and precision."""
    tensor = tensor.detach().cpu()
    return (tensor.float() if tensor.is_floating_point() else tensor).numpy()
