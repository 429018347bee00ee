"""Interfaces between the packages of the library, above all the batches that data modules yield and methods take.

A batch type is a ``TypedDict`` whose **first key is the input of the network**. A data module and a method fit
together exactly when they name the same batch type. Tensors have the shapes below *after* the transfer to the
device: workers produce ``uint8`` images, and ``on_after_batch_transfer`` converts them to floats in [0, 1]. The
network itself normalizes its input, so that an exported network takes plain images.

A value whose size differs between samples is a list with one item for each sample; the axes of an item are
independent of those of other items. A value that only some data sets have is ``NotRequired``.
"""

from collections.abc import Callable, Iterable, Mapping, MutableMapping
from typing import (
    Any,
    Literal,
    NamedTuple,
    NotRequired,
    Protocol,
    TypedDict,
    get_type_hints,
    runtime_checkable,
)

from jaxtyping import Bool, Float, Int64
from torch import Tensor

IGNORE_INDEX = 255
"""Label of pixels that losses and scores ignore."""

UNKNOWN_CLASS = -1
"""Label of an image whose class nobody knows. Evaluation leaves it out, and training must not have any."""

LabeledSplit = Literal["train", "val", "test"]
"""Splits of a data set that have labels."""

IMAGE_KEYS = ("image", "frames")
"""Keys of images, whose values are within [0, 1]."""


class ClassificationBatch(TypedDict):
    """Single images with one class each.

    ``label`` is :data:`UNKNOWN_CLASS` where the class is not known, which is for evaluation and targets only. If the
    data have domains, ``domain`` is the number of each image's domain. ``domain_embedding`` describes the domain by
    what is known when the image is taken.
    """

    image: Float[Tensor, "batch 3 height width"]
    label: Int64[Tensor, " batch"]
    domain: NotRequired[Int64[Tensor, " batch"]]
    domain_embedding: NotRequired[Float[Tensor, "batch features"]]


class DetectionBatch(TypedDict):
    """Single images with boxes around objects.

    All images of a batch have the same size: each is scaled to fit and padded on the right and at the bottom, so that
    ``boxes / scale`` are coordinates in pixels of the file. Boxes are given by pixel edges: a box around the full image
    is (0, 0, width, height).

    If ``has_inclusive_edges`` is true, x2 and y2 in the label file are the last pixels inside a box. The official
    evaluation of such a data set takes the box to be x2 - x1 + 1 pixels wide. A net still learns and predicts the
    coordinates of the labels; only the score includes the last pixels.

    A detection in a box of ``ignored_xyxy`` with the class of ``ignored_label`` counts neither for nor against the
    detector. ``image_id`` is unique within a split. Domains are as in :class:`ClassificationBatch`.
    """

    image: Float[Tensor, "batch 3 height width"]
    boxes_xyxy: list[Float[Tensor, "boxes 4"]]
    label: list[Int64[Tensor, " boxes"]]
    ignored_xyxy: list[Float[Tensor, "ignored 4"]]
    ignored_label: list[Int64[Tensor, " ignored"]]
    scale: Float[Tensor, " batch"]
    original_size: Int64[Tensor, "batch 2"]
    """Height and width of the image in the file, in pixels."""
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

    In training, ``frames[:, 0]`` is the key frame, and all clips of a batch are equally long. In evaluation, all clips
    have the maximum length T, and the key frame at distance d from the labeled frame is ``frames[:, T - 1 - d]``.
    """

    frames: Float[Tensor, "batch time 3 height width"]
    mask: Int64[Tensor, "batch height width"]


class FrameBatch(TypedDict):
    """Unlabeled frames of a stream in temporal order, for prediction.

    ``frame_index`` is the number of the frame in its source, so a gap means dropped frames. ``name`` is the name under
    which results of the frame are saved.
    """

    image: Float[Tensor, "batch 3 height width"]
    frame_index: Int64[Tensor, " batch"]
    name: list[str]


class FeatureBatch(TypedDict):
    """Samples of which only features are known, such as histograms of visual words, with one class each."""

    features: Float[Tensor, "batch features"]
    label: Int64[Tensor, " batch"]


def input_key(batch_type: type) -> str:
    """Name of the network's input in a batch: the first key of its type."""
    return next(iter(get_type_hints(batch_type)))


def serves_as(given: type, expected: type) -> bool:
    """Whether batches of type ``given`` can be used as ``expected``: same input, and no required key is missing."""
    required: frozenset[str] = expected.__required_keys__  # pyright: ignore[reportAttributeAccessIssue]
    return input_key(given) == input_key(expected) and required <= get_type_hints(given).keys()


class DomainImages(NamedTuple):
    """The images of a split in a fixed order, without augmentation, and the domain of each."""

    batches: Iterable[Float[Tensor, "_ 3 height width"]]
    """Images in [0, 1], which are read when they are iterated over."""
    domain_names: tuple[str, ...]
    domain: Int64[Tensor, " images"]
    """Index into ``domain_names``."""
    embedding: Float[Tensor, "images features"]
    """What a net receives with each image to describe its domain."""


class Detections(NamedTuple):
    """Detections in one image, ordered from the highest score to the lowest."""

    boxes_xyxy: Float[Tensor, "boxes 4"]
    """Pixel edges of the boxes in the input image of the detector."""
    score: Float[Tensor, " boxes"]
    """Confidence of each detection, in [0, 1]."""
    label: Int64[Tensor, " boxes"]


@runtime_checkable
class Detector(Protocol):
    """An object detector: it learns from labeled boxes and predicts boxes."""

    num_classes: int

    def losses(self, batch: DetectionBatch) -> dict[str, Tensor]:
        """Scalar terms of the loss by name, already multiplied by their weights."""
        ...

    def detect(self, image: Float[Tensor, "batch 3 height width"]) -> list[Detections]:
        """Detections in each image; the values of ``image`` are in [0, 1]."""
        ...


@runtime_checkable
class VideoNet(Protocol):
    """A net that does most of its computation on key frames and propagates the result to the frames after them."""

    def start(self, frame: Float[Tensor, "batch 3 height width"]) -> Any:
        """State after a key frame."""
        ...

    def advance(self, state: Any, frame: Float[Tensor, "batch 3 height width"]) -> Any:
        """State after the next frame."""
        ...

    def logits(self, state: Any) -> Float[Tensor, "batch classes height width"]:
        """Logits of the classes on the current frame."""
        ...


class IntervalScore(NamedTuple):
    """Accuracy of a video net with a key frame every ``interval`` frames."""

    net: str
    interval: int
    average_miou: float
    """Mean IoU over all frames, in [0, 1]."""
    worst_miou: float
    """Mean IoU on the last frame before the next key frame, in [0, 1]."""


@runtime_checkable
class ComparesVideoNets(Protocol):
    """A method that evaluates several video nets on the same data."""

    interval: int
    """Key-frame interval of interest."""
    interval_scores: list[IntervalScore]
    """Scores of the last evaluation, for every net and every interval from 1 on."""

    def video_nets(self) -> Mapping[str, VideoNet]:
        """The nets by name; the one named ``reference`` is the baseline for the others."""
        ...


UNLABELED_KEYS = ("domain_embedding",)
"""Keys of a batch that describe an image without naming what is in it. They remain with the input of the net."""


def without_labels(batch: Mapping[str, Any], batch_type: type) -> dict[str, Any]:
    """The part of a batch that is known where nothing is labeled: the net's input and :data:`UNLABELED_KEYS`."""
    known = (input_key(batch_type), *UNLABELED_KEYS)
    return {key: batch[key] for key in known if key in batch}


@runtime_checkable
class GivesTargetBatches(Protocol):
    """A data module whose training batches come with unlabeled data of the domain to adapt to."""

    batch_type: type
    target_batch: Mapping[str, Any] | None
    """Unlabeled target data beside the current training batch, on its device, as :func:`without_labels` leaves them."""


@runtime_checkable
class LoadsTarget(Protocol):
    """A data module that gives unlabeled data of the domain to adapt to without any of the source."""

    def target_dataloader(self) -> Iterable[Any]:
        """Training batches of the target alone, without labels."""
        ...


@runtime_checkable
class TakesLossTerms(Protocol):
    """A method that adds the values of named terms to its loss in every training step, and logs them."""

    loss_terms: MutableMapping[str, Callable[[Any], Tensor]]
    loss_weight: float
    """Factor of the method's own loss."""

    def total_loss(self, batch: Any) -> Tensor:
        """Sum of the method's own loss times its factor and all terms."""
        ...


@runtime_checkable
class ComputesLoss(TakesLossTerms, Protocol):
    """A method that computes its own loss for any labeled batch of its type, such as one with changed images."""

    def loss(self, batch: Any) -> Tensor:
        """Scalar loss of a batch."""
        ...


@runtime_checkable
class NamesEvaluations(Protocol):
    """A data module with several loaders for validation and testing."""

    evaluation_names: tuple[str, ...]
    """Name of each loader. Scores are logged as ``val_<name>/...``, or as ``val/...`` if the name is empty."""


def evaluation_stage(data: Any, stage: str, loader: int) -> str:
    """First part of the keys of what is logged for a loader of an evaluation.

    Args:
        data: The data module, if there is one.
        stage: ``val`` or ``test``.
        loader: Index of the loader.
    """
    names = data.evaluation_names if isinstance(data, NamesEvaluations) else ("",)
    name = names[loader] if loader < len(names) else str(loader)
    return f"{stage}_{name}" if name else stage


@runtime_checkable
class GivesFixedSamples(Protocol):
    """A data module that can select the same samples in every run."""

    def fixed_samples(self, split: Any, num_samples: int) -> list[Any]:
        """Uncollated samples of the split ``train``, ``val`` or ``test``; all of its samples if it has fewer."""
        ...
