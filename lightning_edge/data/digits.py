"""Handwritten digits in four looks: as MNIST, as MNIST-M, inverted, and blurred.

Sources: MNIST, LeCun et al., *Gradient-based learning applied to document recognition*, 1998; MNIST-M, Ganin and
Lempitsky, arXiv:1409.7495.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import cv2
import numpy as np
from jaxtyping import Int64, UInt8
from torch.utils.data import Dataset
from typing_extensions import override

from lightning_edge.contracts import ClassificationBatch, LabelledSplit
from lightning_edge.data.base import Split
from lightning_edge.data.domains.embeddings import DomainEmbedding
from lightning_edge.data.domains.module import DomainDataModule
from lightning_edge.data.domains.partitions import ImageRecord, Partition, Vocabulary
from lightning_edge.data.formats.digits import NUM_CLASSES, Digits, read_mnist, read_mnist_m
from lightning_edge.data.images.augmentation import RandomShift, Transform
from lightning_edge.data.labelled_images import LabelledImageDataset, LabelledImages
from lightning_edge.samples.digits import sample_digits
from lightning_edge.samples.world.frames import check_at_least, check_pair

BLUR_SIGMA_PX = 2.0
"""Of the domain ``blurred``; the strokes of a digit are about three pixels wide."""

_PADDING_PX = 2
"""On each side, from MNIST's 28 pixels to MNIST-M's 32, as that was made."""
_COLOURED = "mnist_m"
_MADE_OF_MNIST = ("mnist", "inverted", "blurred")


class DigitsDataModule(DomainDataModule):
    """Ten digits in four domains: ``mnist``, ``mnist_m``, ``inverted`` and ``blurred``; images are held in memory.

    **No digit is seen in training that is judged later, in whatever look.** Image k of MNIST-M is image k of MNIST's
    testing file ``t10k``. Training takes the first four fifths of MNIST-M, and for the other domains images of MNIST's
    training file, each in one domain only. Validation takes the next tenth and testing the last one, the same digits in
    all four domains, so that a difference between domains is one of looks; images of a domain stand together.

    The writers of MNIST's testing file are no writers of its training file, but those of a digit of MNIST-M that is
    judged may have written others that are trained on.

    Args:
        root: Folder with ``mnist/`` and ``mnist_m/`` as published; small generated images in the same layout if
            ``None``.
        num_train_per_domain: At most so many training images of each domain; all domains have equally many, and no more
            than there are in MNIST-M. Fewer are always a part of more.
        num_samples: Generated images for training, and for MNIST-M and testing.
        train_transform: Augmentation from albumentations; :class:`~lightning_edge.data.images.augmentation.RandomShift`
            if ``None``, and ``albumentations.NoOp()`` is none.
        partition: Which domain an image is of; its ``source`` if ``None``.
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
    vocabulary: ClassVar[Vocabulary] = {"source": ("mnist", "mnist_m", "inverted", "blurred")}
    num_classes = NUM_CLASSES
    class_names = tuple(map(str, range(NUM_CLASSES)))

    def __init__(
        self,
        root: str | Path | None = None,
        num_train_per_domain: int = 4000,
        num_samples: tuple[int, int] = (2400, 1000),
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
        check_at_least("num_train_per_domain", num_train_per_domain, 1)
        check_pair("num_samples", num_samples)
        self.root = root
        self.num_train_per_domain = num_train_per_domain
        self.num_samples = num_samples
        self.train_transform = RandomShift() if train_transform is None else train_transform
        self._archive: _Archive | None = None

    @override
    def prepare_data(self) -> None:
        """Generate the sample data, on one process only."""
        self._folder()

    @override
    def records(self, split: LabelledSplit) -> list[ImageRecord]:
        """Names, such as ``t10k-04017 blurred``, and the ``source`` of the images of a split."""
        return [
            ImageRecord(f"{_file_of(source, split)}-{number:05d} {source}", {"source": source})
            for source, indices in self._indices(split).items()
            for number in indices
        ]

    @override
    def make_dataset(self, split: Split) -> Dataset[Any]:
        """Make the images of a split."""
        assert split != "predict"
        parts = [self._images(source, split, indices) for source, indices in self._indices(split).items()]
        images = LabelledImages(*(np.concatenate(values) for values in zip(*parts, strict=True)))
        return LabelledImageDataset(
            images, self.train_transform if split == "train" else None, self.domain_lookup(split)
        )

    def _indices(self, split: LabelledSplit) -> Mapping[str, Int64[np.ndarray, " images"]]:
        """Where the images of each domain stand in their file."""
        wanted = [source for source in self.vocabulary["source"] if self.is_wanted({"source": source})]
        if not wanted:
            raise ValueError(f"expected images, got none with only={self.only}")
        archive = self._read()
        num_coloured, num_plain = len(archive.coloured.labels), len(archive.train.labels)
        val_begin, test_begin = num_coloured * 8 // 10, num_coloured * 9 // 10
        if split == "val":
            return dict.fromkeys(wanted, np.arange(val_begin, test_begin))
        if split == "test":
            return dict.fromkeys(wanted, np.arange(test_begin, num_coloured))
        count = min(self.num_train_per_domain, val_begin, num_plain // len(_MADE_OF_MNIST))
        draw = np.random.default_rng(0)
        plain = draw.permutation(num_plain)
        of_plain = {source: plain[place :: len(_MADE_OF_MNIST)] for place, source in enumerate(_MADE_OF_MNIST)}
        chosen = of_plain | {_COLOURED: draw.permutation(val_begin)}
        return {source: chosen[source][:count] for source in wanted}

    def _images(self, source: str, split: LabelledSplit, indices: Int64[np.ndarray, " images"]) -> LabelledImages:
        archive = self._read()
        if source == _COLOURED:
            return archive.coloured.at(indices)
        digits = archive.train if split == "train" else archive.t10k
        return LabelledImages(_in_the_look_of(source, digits.images[indices]), digits.labels[indices])

    def _read(self) -> "_Archive":
        if self._archive is None:
            self._archive = _read_archive(self._folder())
        return self._archive

    def _folder(self) -> Path:
        return sample_digits(*self.num_samples) if self.root is None else Path(self.root).expanduser()


class _Archive(NamedTuple):
    train: Digits
    t10k: Digits
    coloured: LabelledImages


def _read_archive(root: Path) -> _Archive:
    train, t10k = read_mnist(root / "mnist", "train"), read_mnist(root / "mnist", "t10k")
    coloured = read_mnist_m(root / "mnist_m")
    if len(train.labels) < len(_MADE_OF_MNIST):
        raise ValueError(
            f"{root / 'mnist'}: expected {len(_MADE_OF_MNIST)} training images or more, to part them among the domains "
            f"{_MADE_OF_MNIST}, got {len(train.labels)}"
        )
    if len(coloured.labels) < 10:
        raise ValueError(f"{root / 'mnist_m'}: expected ten images or more, to part them, got {len(coloured.labels)}")
    # what is trained on and what is judged would overlap if images were numbered otherwise
    if not np.array_equal(coloured.labels, t10k.labels[: len(coloured.labels)]):
        raise ValueError(
            f"{root / 'mnist_m'}: expected image k to be image k of MNIST's t10k, got other classes than in "
            f"{root / 'mnist'}"
        )
    return _Archive(train, t10k, coloured)


def _file_of(source: str, split: LabelledSplit) -> str:
    return "train" if split == "train" and source != _COLOURED else "t10k"


def _in_the_look_of(source: str, digits: UInt8[np.ndarray, "num 28 28"]) -> UInt8[np.ndarray, "num 32 32 3"]:
    sides = (_PADDING_PX, _PADDING_PX)
    padded = np.pad(digits, ((0, 0), sides, sides))
    if source == "inverted":
        padded = 255 - padded
    elif source == "blurred":
        padded = np.stack([cv2.GaussianBlur(image, (0, 0), BLUR_SIGMA_PX) for image in padded])
    return np.repeat(padded[..., None], 3, axis=3)
