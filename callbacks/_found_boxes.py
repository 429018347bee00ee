"""What a detector found, as arrays to draw and write, and what its classes are called."""

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeGuard

import numpy as np
from jaxtyping import Float, Int64
from torch import Tensor

from lightning_edge.contracts import Detections
from lightning_edge.ops.drawing import Palette, default_palette


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


def classes_of(owner: Any, labels: Sequence[int]) -> tuple[list[str], Palette]:
    """Names and colours of classes, from ``class_names`` and ``palette`` where they are known for all of the labels."""
    known: Sequence[str] = getattr(owner, "class_names", None) or ()
    palette: Palette = getattr(owner, "palette", None) or ()
    num_classes = max([len(known), *(label + 1 for label in labels)])
    names = [*known] if len(known) == num_classes else [f"class {index}" for index in range(num_classes)]
    return names, palette if len(palette) >= num_classes else default_palette(num_classes)
