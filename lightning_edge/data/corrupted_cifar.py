"""CIFAR-10 and CIFAR-100 with one of several corruptions on each image. The corruptions are the domains."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Int64
from torch.utils.data import Dataset
from typing_extensions import override

from lightning_edge.checks import check_whole_at_least
from lightning_edge.contracts import ClassificationBatch, LabeledSplit
from lightning_edge.data.base import Split
from lightning_edge.data.domains.embeddings import DomainEmbedding
from lightning_edge.data.domains.module import DomainDataModule
from lightning_edge.data.domains.partitions import ImageRecord, Partition, Vocabulary
from lightning_edge.data.formats.cifar import NumClasses
from lightning_edge.data.formats.cifar_splits import CIFARSplits, shuffled_classes
from lightning_edge.data.images.augmentation import CropFlip, Transform
from lightning_edge.data.images.corruptions import CORRUPTIONS, NUM_SEVERITIES, check_corruption, corrupt
from lightning_edge.data.labeled_images import LabeledImageDataset, LabeledImages

_PART_SEED = {"train": 0, "test": 1}


class CorruptedCIFARDataModule(DomainDataModule):
    """CIFAR-10 or CIFAR-100 with one fixed corruption for each image. All images are kept in memory.

    Corruptions are assigned in turn to the images of a class, so that each corruption gets the same share of each
    class, up to one image. The corruption of an image depends only on its position in the archive, not on the seed or
    on the fractions. It is the same in every epoch; only augmentation changes.

    Args:
        root: Folder with the unpacked archive, in the Python version or the binary version. If ``None``, small
            generated images in the same layout are used.
        num_classes: 10 or 100.
        corruptions: Names from :data:`~lightning_edge.data.images.corruptions.CORRUPTIONS`. The domains have the same
            order.
        severity: Severity of all corruptions, from 1 to 5.
        val_fraction: Share of the training images that is used for validation. With 0, validation uses the test images,
            as in papers that report the best epoch.
        train_fraction: Share of the remaining images that is used for training.
        num_samples: Numbers of generated images for training and for testing.
        train_transform: Augmentation from albumentations, which is applied after the corruption;
            :class:`~lightning_edge.data.images.augmentation.CropFlip` if ``None``. Use ``albumentations.NoOp()`` for no
            augmentation.
        partition: Assigns each image to a domain; its ``corruption`` if ``None``.
        embedding: Describes a domain by a vector; ``OneHotEmbedding()`` if ``None``.
        keep_attributes: Keeps only images with the given values of some attributes.
        batch_size: Number of images in a training batch of one process.
        eval_batch_size: Number of images in a validation or test batch; ``batch_size`` if ``None``.
        num_workers: Number of processes that augment images, for each data loader.
        seed: Seed of the order of the training samples and of their augmentation.

    Raises:
        ValueError: An argument is out of range.
    """

    batch_type = ClassificationBatch
    vocabulary: ClassVar[Vocabulary] = {"corruption": CORRUPTIONS}

    def __init__(
        self,
        root: str | Path | None = None,
        num_classes: NumClasses = 10,
        corruptions: tuple[str, ...] = CORRUPTIONS,
        severity: int = NUM_SEVERITIES,
        val_fraction: float = 0.1,
        train_fraction: float = 1.0,
        num_samples: tuple[int, int] = (5000, 1000),
        train_transform: Transform | None = None,
        partition: Partition | None = None,
        embedding: DomainEmbedding | None = None,
        keep_attributes: Mapping[str, Sequence[str]] | None = None,
        batch_size: int = 128,
        eval_batch_size: int | None = None,
        num_workers: int = 2,
        seed: int = 0,
    ) -> None:
        super().__init__(partition, embedding, keep_attributes, batch_size, eval_batch_size, num_workers, seed)
        if not corruptions or len(set(corruptions)) < len(corruptions):
            raise ValueError(f"expected one or more corruptions without duplicates, got {list(corruptions or ())}")
        check_whole_at_least(1, severity=severity)
        for corruption in corruptions:
            check_corruption(corruption, severity)
        self.corruptions = tuple(corruptions)
        # the chosen corruptions instead of all that the class knows
        self.vocabulary = {"corruption": self.corruptions}  # pyright: ignore[reportAttributeAccessIssue]
        self.severity = severity
        self._splits = CIFARSplits(root, num_classes, val_fraction, train_fraction, num_samples)
        self.num_classes, self.class_names = self._splits.num_classes, self._splits.class_names
        self.train_transform = CropFlip() if train_transform is None else train_transform

    @override
    def prepare_data(self) -> None:
        """Generate the sample data, on one process only."""
        self._splits.folder()

    @override
    def records(self, split: LabeledSplit) -> list[ImageRecord]:
        """Names, such as ``train-00017 noise``, and ``corruption`` attributes of the images of a split."""
        numbers = self._corruption_numbers(split)
        indices = self._indices(split, numbers)
        names = [self.corruptions[number] for number in numbers[indices]]
        return [
            ImageRecord(f"{self._splits.part_of(split)}-{index:05d} {name}", {"corruption": name})
            for index, name in zip(indices, names, strict=True)
        ]

    @override
    def make_dataset(self, split: Split) -> Dataset[Any]:
        """Corrupt the images of a split."""
        assert split != "predict"
        part = self._splits.part_of(split)
        numbers = self._corruption_numbers(split)
        indices = self._indices(split, numbers)
        clean, labels = self._splits.read(part).at(indices)
        images = np.empty_like(clean)
        for row, image, index in zip(images, clean, indices, strict=True):
            noise = np.random.default_rng([_PART_SEED[part], index])
            row[:] = corrupt(image, self.corruptions[numbers[index]], self.severity, noise)
        transform = self.train_transform if split == "train" else None
        return LabeledImageDataset(LabeledImages(images, labels), transform, self.domain_lookup(split))

    def _indices(self, split: LabeledSplit, numbers: Int64[np.ndarray, " part"]) -> Int64[np.ndarray, " images"]:
        is_wanted = np.array([self.is_wanted({"corruption": name}) for name in self.corruptions])
        indices = self._splits.indices(split)
        wanted = indices[is_wanted[numbers[indices]]]
        if not len(wanted):
            raise ValueError(
                f"expected images in the {split} split, got none of {len(indices)} with "
                f"keep_attributes={self.keep_attributes}"
            )
        return wanted

    def _corruption_numbers(self, split: LabeledSplit) -> Int64[np.ndarray, " part"]:
        """Index of the corruption of each image in the part of the archive that a split belongs to."""
        labels = self._splits.read(self._splits.part_of(split)).labels
        turn = np.empty_like(labels)
        # in the order by which validation images are chosen, so that each split has equally many of each corruption;
        # each class starts with another corruption
        for begin, of_class in enumerate(shuffled_classes(labels)):
            turn[of_class] = begin + np.arange(len(of_class))
        return turn % len(self.corruptions)
