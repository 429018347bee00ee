"""Base of the data modules for object detection, with single images and boxes."""

import warnings
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import albumentations as A
import numpy as np
import torch
from jaxtyping import Float32, Int64
from torch import Tensor
from torch.utils.data import Dataset, default_collate
from typing_extensions import override

from lightning_edge.contracts import DetectionBatch, LabeledSplit
from lightning_edge.data.base import Split
from lightning_edge.data.classes import check_class_names
from lightning_edge.data.domains.embeddings import DomainEmbedding
from lightning_edge.data.domains.module import DomainDataModule, DomainLookup
from lightning_edge.data.domains.partitions import ImageRecord, Partition
from lightning_edge.data.images.augmentation import DetectionAugmentation, Transform, apply_seeded
from lightning_edge.data.images.files import RgbImage, read_image
from lightning_edge.data.images.headers import MAX_PIXELS
from lightning_edge.data.images.letterbox import letterbox
from lightning_edge.data.loading import SampleRequest

LEAST_LEFT_BY_CROP = 0.3
"""Share of a box that must remain visible after augmentation. Boxes with less are removed, also ignored ones."""

_LISTS = ("boxes_xyxy", "label", "ignored_xyxy", "ignored_label")
_IN_PIXELS = ("boxes_xyxy", "ignored_xyxy", "scale")
_NUM_CHECKED = 3


class LabeledImage(NamedTuple):
    """An image file and its boxes.

    Boxes are given by pixel edges in the image as it is stored, whatever its EXIF orientation. They may reach beyond
    the image.
    """

    path: Path
    record: ImageRecord
    boxes_xyxy: Float32[np.ndarray, "boxes 4"]
    label: Int64[np.ndarray, " boxes"]
    ignored_xyxy: Float32[np.ndarray, "ignored 4"]
    ignored_label: Int64[np.ndarray, " ignored"]


class DetectionDataModule(DomainDataModule):
    """Labeled images of any size, letterboxed. A subclass provides the files, the boxes and the classes.

    Boxes are clipped to their image when it is read, and removed if nothing remains. Coordinates and scales stay
    float32 with any precision of the trainer, because bfloat16 would round them to several pixels.

    Args:
        input_size: Height and width of all images in batches, in pixels.
        train_transform: Augmentation from albumentations for the letterboxed image and its boxes. It must keep the
            size. ``None`` uses :class:`~lightning_edge.data.images.augmentation.DetectionAugmentation`. Use
            ``albumentations.NoOp()`` for no augmentation. ``scale`` in a batch remains that of the letterbox.
        partition: Assigns each image to a domain.
        embedding: Describes a domain by a vector.
        keep_attributes: Keeps only images with the given values of some attributes.
        batch_size: Number of images in a training batch of one process.
        eval_batch_size: Number of images in a validation or test batch; ``batch_size`` if ``None``.
        num_workers: Number of processes that read images, for each data loader.
        seed: Seed of the order of the training samples and of their augmentation.

    Raises:
        ValueError: An argument is out of range.
    """

    batch_type = DetectionBatch
    has_inclusive_edges = False
    """Whether the official evaluation of the data set takes x2 and y2 as the last pixels inside a box."""
    num_classes: int
    class_names: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]

    def __init__(
        self,
        input_size: tuple[int, int],
        train_transform: Transform | None = None,
        partition: Partition | None = None,
        embedding: DomainEmbedding | None = None,
        keep_attributes: Mapping[str, Sequence[str]] | None = None,
        batch_size: int = 8,
        eval_batch_size: int | None = None,
        num_workers: int = 2,
        seed: int = 0,
    ) -> None:
        super().__init__(partition, embedding, keep_attributes, batch_size, eval_batch_size, num_workers, seed)
        if min(input_size) < 1:
            raise ValueError(f"expected input_size of at least 1 x 1, got {input_size}")
        if input_size[0] * input_size[1] > MAX_PIXELS:
            raise ValueError(f"expected input_size of at most {MAX_PIXELS:,} pixels, got {input_size}")
        self.input_size = (input_size[0], input_size[1])
        self.train_transform = DetectionAugmentation(*input_size) if train_transform is None else train_transform

    @abstractmethod
    def labeled_images(self, split: LabeledSplit) -> Sequence[LabeledImage]:
        """The images of a split, always in the same order. Raises ``FileNotFoundError`` if files are missing."""

    @override
    def records(self, split: LabeledSplit) -> list[ImageRecord]:
        """Names and attributes of the images of a split."""
        return [image.record for image in self.labeled_images(split)]

    @override
    def make_dataset(self, split: Split) -> Dataset[Any]:
        """Index a split, read its first few images, and warn of boxes that reach beyond the image."""
        assert split != "predict"
        check_class_names(self.num_classes, self.class_names, getattr(self, "palette", None))
        images = self.labeled_images(split)
        if not images:
            raise ValueError(f"expected labeled_images({split!r}) of {type(self).__name__} to return images, got none")
        first, *_ = [read_image(image.path) for image in images[:_NUM_CHECKED]]
        _warn_of_boxes_beyond(images, first.shape[0], first.shape[1])
        return _DetectionDataset(
            images, self.domain_lookup(split), self.input_size, self.train_transform, self.has_inclusive_edges
        )

    @staticmethod
    def collate(samples: list[dict[str, Tensor]]) -> dict[str, Any]:
        """Stack values of equal size, list the others, and view values in pixels as integers until the transfer."""
        lists = {key: [sample[key] for sample in samples] for key in _LISTS}
        stacked = default_collate(
            [{key: value for key, value in sample.items() if key not in _LISTS} for sample in samples]
        )
        return _view(stacked | lists, torch.int32)

    @override
    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Convert images to [0, 1] in the trainer's precision, and restore values in pixels to float32."""
        return _view(super().on_after_batch_transfer(batch, dataloader_idx), torch.float32)


class _DetectionDataset(Dataset[dict[str, Tensor]]):
    def __init__(
        self,
        images: Sequence[LabeledImage],
        domains: DomainLookup,
        input_size: tuple[int, int],
        transform: Transform,
        has_inclusive_edges: bool,
    ) -> None:
        self.images = images
        self.domains = domains
        self.input_size = input_size
        self.has_inclusive_edges = has_inclusive_edges
        # filter_invalid_bboxes, because albumentations rejects boxes that are too thin for float32
        boxes = A.BboxParams("pascal_voc", ["box_index"], min_visibility=LEAST_LEFT_BY_CROP, filter_invalid_bboxes=True)
        self.transform = A.Compose([transform], boxes)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, item: int | SampleRequest) -> dict[str, Tensor]:
        index = item.index if isinstance(item, SampleRequest) else item
        labeled = self.images[index]
        original = read_image(labeled.path)
        image, scale = letterbox(original, self.input_size)
        boxes, row = _clipped(np.concatenate([labeled.boxes_xyxy, labeled.ignored_xyxy]), *original.shape[:2])
        boxes = np.minimum(boxes * np.float32(scale), _corner(*self.input_size))
        if isinstance(item, SampleRequest):
            image, boxes, kept = self._augmented(image, boxes, item.seed)
            row = row[kept]
        label = np.concatenate([labeled.label, labeled.ignored_label])[row]
        is_ignored = row >= len(labeled.label)
        return {
            "image": torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))),
            "boxes_xyxy": torch.from_numpy(boxes[~is_ignored]),
            "label": torch.from_numpy(label[~is_ignored]),
            "ignored_xyxy": torch.from_numpy(boxes[is_ignored]),
            "ignored_label": torch.from_numpy(label[is_ignored]),
            "scale": torch.tensor(scale, dtype=torch.float32),
            "original_size": torch.tensor(original.shape[:2]),
            "image_id": torch.tensor(index),
            "has_inclusive_edges": torch.tensor(self.has_inclusive_edges),
            **self.domains.sample_fields(index),
        }

    def _augmented(
        self, image: RgbImage, boxes: Float32[np.ndarray, "boxes 4"], seed: int
    ) -> tuple[RgbImage, Float32[np.ndarray, "left 4"], Int64[np.ndarray, " left"]]:
        """The augmented image, the remaining boxes, and their indices among the boxes before."""
        augmented = apply_seeded(self.transform, seed, image=image, bboxes=boxes, box_index=np.arange(len(boxes)))
        if augmented["image"].shape[:2] != self.input_size:
            raise ValueError(
                f"expected a train_transform that keeps images at input_size {self.input_size}, got "
                f"{augmented['image'].shape[:2]}: let it end with a crop of that size"
            )
        kept = np.array(augmented["box_index"], np.int64)
        return augmented["image"], np.array(augmented["bboxes"], np.float32).reshape(-1, 4), kept


def _clipped(
    boxes_xyxy: Float32[np.ndarray, "boxes 4"], height: int, width: int
) -> tuple[Float32[np.ndarray, "inside 4"], Int64[np.ndarray, " inside"]]:
    """Boxes clipped to an image, and the indices of those that are not outside of it."""
    clipped = np.clip(boxes_xyxy, 0, _corner(height, width))
    row = np.flatnonzero((clipped[:, 2:] > clipped[:, :2]).all(1))
    return clipped[row], row


def _corner(height: int, width: int) -> Float32[np.ndarray, " 4"]:
    return np.array([width, height, width, height], np.float32)


def _warn_of_boxes_beyond(images: Sequence[LabeledImage], height: int, width: int) -> None:
    first, num_beyond, num_outside = None, 0, 0
    for image in images:
        boxes = np.concatenate([image.boxes_xyxy, image.ignored_xyxy])
        beyond = ((boxes < 0) | (boxes > _corner(height, width))).any(1)
        if beyond.any():
            first = first or f"{boxes[beyond][0].tolist()} in {image.path}"
            num_beyond += int(beyond.sum())
            num_outside += len(boxes) - len(_clipped(boxes, height, width)[1])
    if num_beyond:
        warnings.warn(
            f"{num_beyond} boxes reach beyond the size of the first image, {width} x {height}, and {num_outside} of "
            f"them are completely outside. The first is {first}. Each box is clipped to its own image and removed if "
            "nothing remains.",
            stacklevel=4,
        )


def _view(batch: dict[str, Any], dtype: torch.dtype) -> dict[str, Any]:
    """View values as another data type, because a trainer converts floating-point values to its precision."""

    def view(value: Any) -> Any:
        return [tensor.view(dtype) for tensor in value] if isinstance(value, list) else value.view(dtype)

    # a batch without labels has none of them
    return batch | {key: view(batch[key]) for key in _IN_PIXELS if key in batch}
