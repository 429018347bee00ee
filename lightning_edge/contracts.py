"""What the rooms of the library agree on: the batches that data modules give and methods take.

A batch type is a ``TypedDict`` whose **first key is the input of the network**. A data module and a method fit
together exactly when they name the same batch type. Tensors have the shapes below *after* the transfer to the
device: workers hand over ``uint8`` images, ``on_after_batch_transfer`` makes them float in [0, 1]; normalisation is
the network's business, so that an exported network takes plain images.

What differs in size between samples is a list with one item for each, whose axes are the item's own; what only some
data have is ``NotRequired``.
"""

from collections.abc import Mapping
from typing import (
    Any,
    Literal,
    NamedTuple,
    NotRequired,
    Protocol,
    TypedDict,
    get_args,
    get_origin,
    get_type_hints,
    runtime_checkable,
)

import torch
from jaxtyping import Bool, Float, Int64, jaxtyped
from torch import Tensor

IGNORE_INDEX = 255
"""Label of pixels that count neither in a loss nor in a score."""

LabelledSplit = Literal["train", "val", "test"]
"""Parts of a data set."""

IMAGE_KEYS = ("image", "frames")
"""Keys whose values are within [0, 1]."""


class ClassificationBatch(TypedDict):
    """Single images with one class each.

    Where the data know domains, ``domain`` is the number of an image's own, and ``domain_embedding`` describes what may
    be known of it when the image is seen.
    """

    image: Float[Tensor, "batch 3 height width"]
    label: Int64[Tensor, " batch"]
    domain: NotRequired[Int64[Tensor, " batch"]]
    domain_embedding: NotRequired[Float[Tensor, "batch features"]]


class DetectionBatch(TypedDict):
    """Single images with boxes around objects.

    Images of one batch have one size: each was scaled to fit and padded at its right and at its bottom, so that
    ``boxes / scale`` are pixels of the file. Boxes are pixel edges, a full image being (0, 0, width, height).

    Where ``has_inclusive_edges`` is true, x2 and y2 are in the file the last pixels inside a box, which is so x2 - x1 +
    1 pixels wide for the official evaluation of the data set. A net learns and predicts the coordinates of the labels
    all the same; the score counts the last pixels in.

    What a detector finds in ``ignored_xyxy`` counts neither for nor against it, where it is of the class in
    ``ignored_label``. ``image_id`` is different for each image of a split; domains are as in
    :class:`ClassificationBatch`.
    """

    image: Float[Tensor, "batch 3 height width"]
    boxes_xyxy: list[Float[Tensor, "boxes 4"]]
    label: list[Int64[Tensor, " boxes"]]
    ignored_xyxy: list[Float[Tensor, "ignored 4"]]
    ignored_label: list[Int64[Tensor, " ignored"]]
    scale: Float[Tensor, " batch"]
    original_size: Int64[Tensor, "batch 2"]
    """Height and width of the file, pixels."""
    image_id: Int64[Tensor, " batch"]
    has_inclusive_edges: NotRequired[Bool[Tensor, " batch"]]
    domain: NotRequired[Int64[Tensor, " batch"]]
    domain_embedding: NotRequired[Float[Tensor, "batch features"]]


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


def serves_as(given: type, expected: type) -> bool:
    """Whether batches of one type are good where those of another are expected: same input, and no key is missing."""
    required: frozenset[str] = expected.__required_keys__  # pyright: ignore[reportAttributeAccessIssue]
    return input_key(given) == input_key(expected) and required <= get_type_hints(given).keys()


def check_batch(batch: Any, batch_type: type) -> None:
    """Raise ``ValueError`` unless ``batch`` is what ``batch_type`` promises.

    Checks keys, types, shapes (equal names mean equal sizes across keys), that lists have one item for each sample,
    that floating-point tensors are finite, and that images are in [0, 1]. ``beartype`` does not look inside a
    ``TypedDict``, hence this function.
    """
    _check_keys(batch, batch_type)
    name = batch_type.__name__
    hints = {key: hint for key, hint in get_type_hints(batch_type).items() if key in batch}
    lists = [key for key, hint in hints.items() if get_origin(hint) is list]
    # `isinstance` binds the axes in the innermost context: a function between would have one of its own in tests
    with jaxtyped("context"):
        for key, hint in hints.items():
            if not isinstance(batch[key], list if key in lists else hint):
                raise _mismatch(batch[key], hint, f"{name}[{key!r}]")
    for key in lists:
        size = len(batch[input_key(batch_type)])
        if len(batch[key]) != size:
            raise ValueError(f"expected {name}[{key!r}] with an item for each sample ({size}), got {len(batch[key])}")
    for sample, items in enumerate(zip(*(batch[key] for key in lists), strict=True)):
        with jaxtyped("context"):  # a sample's items share axes with each other only
            for key, item in zip(lists, items, strict=True):
                (hint,) = get_args(hints[key])
                if not isinstance(item, hint):
                    raise _mismatch(item, hint, f"{name}[{key!r}][{sample}]")
    for key in hints:
        for value in batch[key] if key in lists else [batch[key]]:
            _check_numbers(value, key, f"{name}[{key!r}]")


def _check_keys(batch: Any, batch_type: type) -> None:
    if not isinstance(batch, dict):
        raise ValueError(f"expected a dict with the keys of {batch_type.__name__}, got {type(batch).__name__}")
    required: frozenset[str] = batch_type.__required_keys__  # pyright: ignore[reportAttributeAccessIssue]
    optional: frozenset[str] = batch_type.__optional_keys__  # pyright: ignore[reportAttributeAccessIssue]
    if not required <= batch.keys() <= required | optional:
        keys = f"{sorted(required)}" + (f", optionally {sorted(optional)}" if optional else "")
        raise ValueError(f"expected the keys of {batch_type.__name__}, {keys}, got {list(batch)}")


def _mismatch(value: Any, hint: Any, name: str) -> ValueError:
    got = f"{value.dtype} {tuple(value.shape)}" if isinstance(value, Tensor) else f"{value!r:.80}"
    expected = getattr(hint, "__name__", hint) if get_origin(hint) is None else hint
    return ValueError(f"expected {name} as {expected}, in agreement with the other keys, got {got}")


def _check_numbers(value: Any, key: str, name: str) -> None:
    if not isinstance(value, Tensor) or value.numel() == 0:
        return
    if not torch.isfinite(value).all():
        raise ValueError(f"expected {name} to be finite, got NaN or infinity")
    if key in IMAGE_KEYS and not 0 <= value.min() <= value.max() <= 1:
        raise ValueError(f"expected {name} within [0, 1], got values from {value.min():.3g} to {value.max():.3g}")


class Detections(NamedTuple):
    """What a detector found in one image, surest first."""

    boxes_xyxy: Float[Tensor, "boxes 4"]
    """Pixel edges in the image that the detector was given."""
    score: Float[Tensor, " boxes"]
    """How sure it is, in [0, 1]."""
    label: Int64[Tensor, " boxes"]


@runtime_checkable
class Detector(Protocol):
    """A net that learns from boxes and finds them."""

    num_classes: int

    def losses(self, batch: DetectionBatch) -> dict[str, Tensor]:
        """Scalar terms of the loss by name, each with its weight."""
        ...

    def detect(self, image: Float[Tensor, "batch 3 height width"]) -> list[Detections]:
        """What is in each image, of images in [0, 1]."""
        ...


@runtime_checkable
class VideoNet(Protocol):
    """A net that computes much on key frames and propagates the result to the frames after them."""

    def start(self, frame: Float[Tensor, "batch 3 height width"]) -> Any:
        """State after a key frame."""
        ...

    def advance(self, state: Any, frame: Float[Tensor, "batch 3 height width"]) -> Any:
        """State on the next frame."""
        ...

    def logits(self, state: Any) -> Float[Tensor, "batch classes height width"]:
        """Logits of the classes on the present frame."""
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


@runtime_checkable
class GivesFixedSamples(Protocol):
    """A data module that can choose samples which are the same in every run."""

    def fixed_samples(self, split: Any, num_samples: int) -> list[Any]:
        """Samples of ``train``, ``val`` or ``test``, not yet collated; all where the split has fewer."""
        ...
