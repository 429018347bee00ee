"""CIFAR-10 and CIFAR-100 with each image spoiled in one of several ways, which are its domains."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Int64
from torch.utils.data import Dataset
from typing_extensions import override

from lightning_edge.contracts import ClassificationBatch, LabelledSplit
from lightning_edge.data.base import Split
from lightning_edge.data.domains.embeddings import DomainEmbedding
from lightning_edge.data.domains.module import DomainDataModule
from lightning_edge.data.domains.partitions import ImageRecord, Partition, Vocabulary
from lightning_edge.data.formats.cifar import NumClasses
from lightning_edge.data.formats.cifar_splits import CIFARSplits, shuffled_classes
from lightning_edge.data.images.augmentation import CropFlip, Transform
from lightning_edge.data.images.corruptions import CORRUPTIONS, NUM_SEVERITIES, check_corruption, corrupt
from lightning_edge.data.labelled_images import LabelledImageDataset, LabelledImages
from lightning_edge.samples.world.frames import check_at_least

_PART_SEED = {"train": 0, "test": 1}


class CorruptedCIFARDataModule(DomainDataModule):
    """CIFAR-10 or CIFAR-100 where each image has one corruption for good; all images are held in memory.

    Corruptions are dealt out in turn among the images of a class, so that each has its share of each class, up to one
    image. What an image looks like follows from its place in the archive, and neither from the seed nor from the
    fractions; in training it is the same in every epoch, but for augmentation.

    Args:
        root: Folder with the unpacked archive, the version for Python or the binary one; small generated images in the
            same layout if ``None``.
        num_classes: 10 or 100.
        corruptions: Names from :data:`~lightning_edge.data.images.corruptions.CORRUPTIONS`; domains have their order.
        severity: Of all corruptions, from 1 to 5.
        val_fraction: Share of the training images that validation takes; at 0 it takes the test images, as papers do
            that report the best epoch.
        train_fraction: Share of the remaining images that is trained on.
        num_samples: Numbers of generated images for training and testing.
        train_transform: Augmentation from albumentations, after the corruption;
            :class:`~lightning_edge.data.images.augmentation.CropFlip` if ``None``, and ``albumentations.NoOp()`` is
            none.
        partition: Which domain an image is of; its ``corruption`` if ``None``.
        embedding: How a domain is described; by its number, one-hot, if ``None``.
        only: Keeps the images with these values of some attributes.
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
        only: Mapping[str, Sequence[str]] | None = None,
        batch_size: int = 128,
        eval_batch_size: int | None = None,
        num_workers: int = 2,
        seed: int = 0,
    ) -> None:
        super().__init__(partition, embedding, only, batch_size, eval_batch_size, num_workers, seed)
        if not corruptions or len(set(corruptions)) < len(corruptions):
            raise ValueError(f"expected one or more corruptions, none of them twice, got {list(corruptions or ())}")
        check_at_least("severity", severity, 1)
        for corruption in corruptions:
            check_corruption(corruption, severity)
        self.corruptions = tuple(corruptions)
        # those that were chosen, in place of all that the class knows
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
    def records(self, split: LabelledSplit) -> list[ImageRecord]:
        """Names, such as ``train-00017 noise``, and the ``corruption`` of the images of a split."""
        dealt = self._dealt(split)
        indices = self._indices(split, dealt)
        names = [self.corruptions[number] for number in dealt[indices]]
        return [
            ImageRecord(f"{self._splits.part_of(split)}-{index:05d} {name}", {"corruption": name})
            for index, name in zip(indices, names, strict=True)
        ]

    @override
    def make_dataset(self, split: Split) -> Dataset[Any]:
        """Spoil the images of a split."""
        assert split != "predict"
        part = self._splits.part_of(split)
        dealt = self._dealt(split)
        indices = self._indices(split, dealt)
        clean, labels = self._splits.read(part).at(indices)
        images = np.empty_like(clean)
        for row, image, index in zip(images, clean, indices, strict=True):
            noise = np.random.default_rng([_PART_SEED[part], index])
            row[:] = corrupt(image, self.corruptions[dealt[index]], self.severity, noise)
        transform = self.train_transform if split == "train" else None
        return LabelledImageDataset(LabelledImages(images, labels), transform, self.domain_lookup(split))

    def _indices(self, split: LabelledSplit, dealt: Int64[np.ndarray, " part"]) -> Int64[np.ndarray, " images"]:
        is_wanted = np.array([self.is_wanted({"corruption": name}) for name in self.corruptions])
        indices = self._splits.indices(split)
        wanted = indices[is_wanted[dealt[indices]]]
        if not len(wanted):
            raise ValueError(f"expected images in the {split} split, got none of {len(indices)} with only={self.only}")
        return wanted

    def _dealt(self, split: LabelledSplit) -> Int64[np.ndarray, " part"]:
        """Number of the corruption of each image in the part that a split is of."""
        labels = self._splits.read(self._splits.part_of(split)).labels
        turn = np.empty_like(labels)
        # in the order in which a part is held out, so that it has as many of each; each class begins with another one
        for begin, of_class in enumerate(shuffled_classes(labels)):
            turn[of_class] = begin + np.arange(len(of_class))
        return turn % len(self.corruptions)
