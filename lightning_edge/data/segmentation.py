"""Base of the data modules for segmentation, with single images or clips that have one mask each."""

import warnings
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from lightning_edge.checks import check_at_least
from lightning_edge.contracts import IGNORE_INDEX, ClipBatch, SegmentationBatch
from lightning_edge.data.base import FILE, EdgeDataModule, Split
from lightning_edge.data.classes import check_class_names, check_label_table
from lightning_edge.data.images.augmentation import StreetAugmentation, Transform, apply_seeded
from lightning_edge.data.images.camera_motion import RandomCameraMotion
from lightning_edge.data.images.files import LabelTable, check_same_size, read_image, read_mask
from lightning_edge.data.images.headers import stored_size
from lightning_edge.data.loading import SampleRequest
from lightning_edge.ops.sampling import evenly_spaced

_NUM_CHECKED = 3
_MAX_MASKS = 100
"""Number of masks of a split that are searched for a labeled pixel. In valid data usually the first has one."""

_MAX_HEADERS = 1000
"""Number of evaluation images whose sizes are compared in ``setup``. Other sizes are compared in each batch."""


class LabeledClip(NamedTuple):
    """Consecutive frames, oldest first, and the mask of the last one. A single image is a clip of one frame."""

    frames: tuple[Path, ...]
    mask: Path


class SegmentationDataModule(EdgeDataModule):
    """Single labeled images. A subclass provides the files and the classes.

    Images and masks are read as they are stored. An EXIF orientation is ignored in both, with a warning.

    Args:
        train_transform: Augmentation from albumentations, which is applied to image and mask together. ``None`` uses
            :class:`~lightning_edge.data.images.augmentation.StreetAugmentation` at the size of the images. Use
            ``albumentations.NoOp()`` for no augmentation.
        batch_size: Number of images in a training batch of one process.
        eval_batch_size: Number of images in a validation or test batch; ``batch_size`` if ``None``.
        num_workers: Number of processes that read images, for each data loader.
        seed: Seed of the order of the training samples and of their augmentation.
    """

    batch_type = SegmentationBatch
    ignore_index = IGNORE_INDEX
    num_classes: int
    class_names: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    label_table: ClassVar[LabelTable]

    def __init__(
        self,
        train_transform: Transform | None = None,
        batch_size: int = 8,
        eval_batch_size: int | None = None,
        num_workers: int = 2,
        seed: int = 0,
    ) -> None:
        super().__init__(batch_size, eval_batch_size, num_workers, seed)
        self.train_transform = train_transform

    @abstractmethod
    def clips(self, split: Split) -> list[LabeledClip]:
        """Index a split, in a fixed order. Raises ``FileNotFoundError`` if files are missing."""

    def make_dataset(self, split: Split) -> Dataset[Any]:
        """Check the classes, index a split, and check its files for common mistakes."""
        check_class_names(self.num_classes, *(getattr(self, name, None) for name in ("class_names", "palette")))
        check_label_table(self.label_table, self.num_classes)
        clips = self.clips(split)
        self.check_clips(clips, split)
        height, width = _check_first(clips, self.label_table)
        _check_labeled(clips, self.label_table, split)
        if split != "train" and (self.eval_batch_size or self.batch_size) > 1:
            _check_one_size(clips, split)
        transform = StreetAugmentation(height, width) if self.train_transform is None else self.train_transform
        return self._make_dataset(clips, transform)

    def check_clips(self, clips: list[LabeledClip], split: Split) -> None:
        """Raise a ``ValueError`` if there are no clips."""
        if not clips:
            raise ValueError(f"expected clips({split!r}) of {type(self).__name__} to return clips, got none")

    def _make_dataset(self, clips: list[LabeledClip], transform: Transform) -> Dataset[Any]:
        return _ImageDataset(clips, self.label_table, transform)


class SegmentationVideoDataModule(SegmentationDataModule):
    """Clips whose last frame is labeled. A subclass provides the files and the classes.

    A training batch has clips of ``d + 1`` frames. The distance ``d`` is drawn from ``train_distances`` once for each
    batch. Evaluation clips have ``max_distance + 1`` frames.

    Args:
        max_distance: Number of frames from the oldest frame to the labeled frame in evaluation.
        train_distances: Values from which this number is drawn in training.
        train_motion: Creates training clips from the labeled image alone, so that no other frames are needed. ``None``
            uses the frames of the data set.
        train_transform: See :class:`SegmentationDataModule`. All frames of a clip are changed in the same way.
        batch_size: Number of clips in a training batch of one process.
        eval_batch_size: Number of clips in a validation or test batch; ``batch_size`` if ``None``.
        num_workers: Number of processes that read images, for each data loader.
        seed: Seed of the order of the training clips, of their distances and of their augmentation.
    """

    batch_type = ClipBatch

    def __init__(
        self,
        max_distance: int = 9,
        train_distances: tuple[int, ...] = (1, 2, 3, 4),
        train_motion: RandomCameraMotion | None = None,
        train_transform: Transform | None = None,
        batch_size: int = 8,
        eval_batch_size: int | None = None,
        num_workers: int = 2,
        seed: int = 0,
    ) -> None:
        super().__init__(train_transform, batch_size, eval_batch_size, num_workers, seed)
        check_at_least(0, max_distance=max_distance)
        if not train_distances or min(train_distances) < 0:
            raise ValueError(f"expected train_distances with at least one value, none below 0, got {train_distances}")
        self.max_distance = max_distance
        self.train_distances = tuple(train_distances)
        self.train_motion = train_motion

    def num_frames(self, split: Split) -> int:
        """Number of frames that the clips of a split need."""
        if split != "train":
            return 1 + self.max_distance
        return 1 + max(self.train_distances) if self.train_motion is None else 1

    def check_clips(self, clips: list[LabeledClip], split: Split) -> None:
        """Raise a ``ValueError`` if there are no clips or one is too short."""
        super().check_clips(clips, split)
        shortest = min(clips, key=lambda clip: len(clip.frames))
        if len(shortest.frames) < self.num_frames(split):
            bound = "train_distances" if split == "train" else "max_distance"
            raise ValueError(
                f"expected clips of at least {self.num_frames(split)} frames in the {split} split, one more than "
                f"{bound}, got {len(shortest.frames)} for {shortest.mask}: lower {bound} (for evaluation also "
                "max_interval of the method), or use longer clips"
            )

    def _make_dataset(self, clips: list[LabeledClip], transform: Transform) -> Dataset[Any]:
        return _ClipDataset(clips, self.label_table, transform, self.train_distances, self.train_motion)


class _ImageDataset(Dataset[dict[str, Any]]):
    def __init__(self, clips: Sequence[LabeledClip], label_table: LabelTable, transform: Transform) -> None:
        self.clips = clips
        self.label_table = label_table
        self.transform = transform

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, item: int | SampleRequest) -> dict[str, Any]:
        clip = self.clips[item.index if isinstance(item, SampleRequest) else item]
        sample: dict[str, Any] = _read_last(clip, self.label_table)
        if isinstance(item, SampleRequest):
            sample = apply_seeded(self.transform, item.seed, **sample)
        tensors = {"image": _channels_first(sample["image"]), "mask": _to_tensor(sample["mask"])}
        return tensors | {FILE: str(clip.frames[-1])}


class _ClipDataset(Dataset[dict[str, Any]]):
    def __init__(
        self,
        clips: Sequence[LabeledClip],
        label_table: LabelTable,
        transform: Transform,
        train_distances: tuple[int, ...],
        train_motion: RandomCameraMotion | None,
    ) -> None:
        self.clips = clips
        self.label_table = label_table
        self.transform = transform
        self.train_distances = train_distances
        self.train_motion = train_motion

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, item: int | SampleRequest) -> dict[str, Any]:
        clip = self.clips[item.index if isinstance(item, SampleRequest) else item]
        if isinstance(item, SampleRequest):
            distance = self.train_distances[item.batch_seed % len(self.train_distances)]
            sample = self._training_clip(clip, distance, item.seed)
            sample = apply_seeded(self.transform, item.seed, **sample)
        else:
            sample = _read_clip(clip, self.label_table)
        tensors = {"frames": _channels_first(sample["images"]), "mask": _to_tensor(sample["mask"])}
        return tensors | {FILE: str(clip.frames[-1])}

    def _training_clip(self, clip: LabeledClip, distance: int, seed: int) -> dict[str, np.ndarray]:
        if self.train_motion is None:
            return _read_clip(clip._replace(frames=clip.frames[-1 - distance :]), self.label_table)
        still = _read_last(clip, self.label_table)
        images, mask = self.train_motion(still["image"], still["mask"], distance + 1, seed)
        return {"images": images, "mask": mask}


def _read_clip(clip: LabeledClip, label_table: LabelTable) -> dict[str, np.ndarray]:
    last = _read_last(clip, label_table)
    frames = [*(read_image(path) for path in clip.frames[:-1]), last["image"]]
    return {"images": _stack(frames, clip), "mask": last["mask"]}


def _read_last(clip: LabeledClip, label_table: LabelTable) -> dict[str, np.ndarray]:
    image, mask = read_image(clip.frames[-1]), read_mask(clip.mask, label_table)
    check_same_size(image, mask, clip.frames[-1], clip.mask)
    return {"image": image, "mask": mask}


def _stack(frames: list[np.ndarray], clip: LabeledClip) -> np.ndarray:
    for frame, path in zip(frames, clip.frames, strict=True):
        if frame.shape != frames[-1].shape:
            raise ValueError(
                f"{path}: expected frames of one clip of the same size, got {frame.shape[:2]} beside "
                f"{frames[-1].shape[:2]} in {clip.frames[-1]}"
            )
    return np.stack(frames)


def _channels_first(image: np.ndarray) -> Tensor:
    return _to_tensor(np.moveaxis(image, -1, -3))


def _to_tensor(array: np.ndarray) -> Tensor:
    # a transform may flip by negative strides, which torch does not support
    return torch.from_numpy(np.ascontiguousarray(array))


def _check_first(clips: list[LabeledClip], label_table: LabelTable) -> tuple[int, int]:
    masks = [_read_last(clip, label_table)["mask"] for clip in clips[:_NUM_CHECKED]]
    return masks[0].shape[0], masks[0].shape[1]


def _check_labeled(clips: list[LabeledClip], label_table: LabelTable, split: Split) -> None:
    """Raise a ``ValueError`` if no mask has a labeled pixel. If there are too many masks to read all, only warn."""
    some = [clips[index].mask for index in evenly_spaced(len(clips), _MAX_MASKS)]
    if any((read_mask(path, label_table) != IGNORE_INDEX).any() for path in some):
        return
    message = (
        f"expected labeled pixels in the {split} split, got none in {len(some)} of its {len(clips)} masks, the first "
        f"is {some[0]}: do these masks have another label set, or belong to a split without public labels?"
    )
    if len(some) == len(clips):
        raise ValueError(message)
    warnings.warn(message, stacklevel=4)


def _check_one_size(clips: list[LabeledClip], split: Split) -> None:
    first, *others = [clips[index].frames[-1] for index in evenly_spaced(len(clips), _MAX_HEADERS)]
    size = stored_size(first)
    for path in others:
        if (other := stored_size(path)) != size:
            raise ValueError(
                f"expected images of one size in the {split} split, because they share batches, got {size} in {first} "
                f"and {other} in {path}: use eval_batch_size=1"
            )
