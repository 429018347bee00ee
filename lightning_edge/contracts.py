"""What the rooms of the library agree on: the batches that data modules give and methods take.

A batch type is a ``TypedDict`` whose **first key is the input of the network**. A data module and a method fit
together exactly when they name the same batch type. Tensors have the shapes below *after* the transfer to the
device: workers hand over ``uint8`` images, ``on_after_batch_transfer`` makes them float in [0, 1]; normalisation is
the network's business, so that an exported network takes plain images.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol, TypedDict, get_type_hints, runtime_checkable

import torch
from jaxtyping import Float, Int64, jaxtyped
from torch import Tensor

IGNORE_INDEX = 255
"""Label of pixels that count neither in a loss nor in a score."""


class SegmentationBatch(TypedDict):
    """Single images with one label for each pixel."""

    image: Float[Tensor, "batch 3 height width"]
    mask: Int64[Tensor, "batch height width"]


class ClipBatch(TypedDict):
    """Short videos, oldest frame first; the mask belongs to the last frame.

    In training ``frames[:, 0]`` is the key frame and all clips of a batch are equally long. In evaluation clips have
    the longest length T, and a key frame at distance d from the label is ``frames[:, T - 1 - d]``.
    """

    frames: Float[Tensor, "batch time 3 height width"]
    mask: Int64[Tensor, "batch height width"]


class FrameBatch(TypedDict):
    """Unlabelled frames of a stream in order of time, for prediction.

    ``frame_index`` counts frames in the source, so that a gap tells of dropped frames; ``name`` is what results of the
    frame are called.
    """

    image: Float[Tensor, "batch 3 height width"]
    frame_index: Int64[Tensor, " batch"]
    name: list[str]


def input_key(batch_type: type) -> str:
    """Name of the network's input in a batch: the first key of its type."""
    return next(iter(get_type_hints(batch_type)))


def check_batch(batch: Any, batch_type: type) -> None:
    """Raise ``ValueError`` unless ``batch`` is what ``batch_type`` promises.

    Checks keys, tensor types, shapes (equal names mean equal sizes across keys), images in [0, 1] and that no image
    is NaN. ``beartype`` does not look inside a ``TypedDict``, hence this function.
    """
    if not isinstance(batch, dict):
        raise ValueError(f"expected a dict with the keys of {batch_type.__name__}, got {type(batch).__name__}")
    hints = get_type_hints(batch_type)
    if set(batch) != set(hints):
        raise ValueError(f"expected the keys of {batch_type.__name__} {sorted(hints)}, got {sorted(batch)}")
    with jaxtyped("context"):
        for key, hint in hints.items():
            _check_value(key, batch[key], hint, batch_type)


def _check_value(key: str, value: Any, hint: Any, batch_type: type) -> None:
    expected = f"{batch_type.__name__}[{key!r}]"
    if hint == list[str]:
        if not (isinstance(value, list) and all(isinstance(item, str) for item in value)):
            raise ValueError(f"expected {expected} to be a list of str, got {value!r:.80}")
        return
    if not isinstance(value, hint):
        got = f"{value.dtype} {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
        raise ValueError(f"expected {expected} as {hint.__name__}, in agreement with the other keys, got {got}")
    if key in ("image", "frames") and not _in_unit_range(value):
        raise ValueError(f"expected {expected} within [0, 1], got values from {value.min():.3g} to {value.max():.3g}")


def _in_unit_range(image: Tensor) -> bool:
    return bool(torch.isfinite(image).all()) and image.min().item() >= 0 and image.max().item() <= 1


@runtime_checkable
class VideoNet(Protocol):
    """A net that spends much on key frames and carries what it found to the frames after them."""

    def start(self, frame: Float[Tensor, "batch 3 height width"]) -> Any:
        """State after a key frame."""
        ...

    def advance(self, state: Any, frame: Float[Tensor, "batch 3 height width"]) -> Any:
        """State on the next frame."""
        ...

    def scores(self, state: Any) -> Float[Tensor, "batch classes height width"]:
        """Scores of the classes on the present frame."""
        ...


class IntervalScore(NamedTuple):
    """Accuracy of a video net with a key frame every ``interval`` frames."""

    net: str
    interval: int
    average_miou: float
    """Over all frames, in [0, 1]."""
    worst_miou: float
    """On the last frame before the next key frame, in [0, 1]."""


@runtime_checkable
class ComparesVideoNets(Protocol):
    """A method that evaluates several video nets beside each other."""

    interval: int
    """Key-frame interval of interest."""
    interval_scores: list[IntervalScore]
    """What the last evaluation found, for every interval from 1 on."""

    def video_nets(self) -> Mapping[str, VideoNet]:
        """The nets by name; ``reference`` is the one that the others are compared with."""
        ...
