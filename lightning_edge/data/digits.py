"""Handwritten digits in four domains: MNIST, MNIST-M, inverted and blurred.

Sources: MNIST, LeCun et al., *Gradient-based learning applied to document recognition*, 1998; MNIST-M, Ganin and
Lempitsky, arXiv:1409.7495.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
from jaxtyping import Int64
from torch.utils.data import Dataset
from typing_extensions import override

from lightning_edge.checks import check_pair, check_whole_at_least
from lightning_edge.contracts import ClassificationBatch, LabeledSplit
from lightning_edge.data.base import Split
from lightning_edge.data.domains.embeddings import DomainEmbedding
from lightning_edge.data.domains.module import DomainDataModule
from lightning_edge.data.domains.partitions import ImageRecord, Partition, Vocabulary
from lightning_edge.data.formats.digits import NUM_CLASSES, Digits, check_same_digits, read_mnist, read_mnist_m
from lightning_edge.data.images.augmentation import RandomShift, Transform
from lightning_edge.data.images.digit_looks import DigitLook, in_look
from lightning_edge.data.labeled_images import LabeledImageDataset, LabeledImages
from lightning_edge.samples.digits import sample_digits

_COLORED = "mnist_m"
_MADE_OF_MNIST: Mapping[str, DigitLook] = {"mnist": "plain", "inverted": "inverted", "blurred": "blurred"}
"""Domains that are made of MNIST, and their looks."""


class DigitsDataModule(DomainDataModule):
    """Ten digits in the domains ``mnist``, ``mnist_m``, ``inverted`` and ``blurred``. Images are kept in memory.

    **No digit that is used for training in one domain is used for evaluation in another.** Image k of MNIST-M is image
    k of MNIST's test file ``t10k``. Training uses the first four fifths of MNIST-M, and for the other domains images of
    MNIST's training file, each in one domain only. Validation uses the next tenth of the digits and testing the last
    tenth. They use the same digits in all four domains, so that domains differ only in appearance. Images of one domain
    are adjacent.

    The writers of MNIST's test file did not write any digit of its training file. But the writer of an MNIST-M digit
    for evaluation may also have written MNIST-M digits for training.

    Args:
        root: Folder with ``mnist/`` and ``mnist_m/`` as published. If ``None``, small generated images in the same
            layout are used.
        num_train_per_domain: Largest number of training images of each domain. All domains have equally many, and at
            most as many as MNIST-M provides. A smaller number gives a subset of a larger one.
        num_samples: Number of generated images for training, and number of generated images for MNIST-M and testing.
        train_transform: Augmentation from albumentations; :class:`~lightning_edge.data.images.augmentation.RandomShift`
            if ``None``. Use ``albumentations.NoOp()`` for no augmentation.
        partition: Assigns each image to a domain; its ``source`` if ``None``.
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
        keep_attributes: Mapping[str, Sequence[str]] | None = None,
        batch_size: int = 128,
        eval_batch_size: int | None = None,
        num_workers: int = 2,
        seed: int = 0,
    ) -> None:
        super().__init__(partition, embedding, keep_attributes, batch_size, eval_batch_size, num_workers, seed)
        check_whole_at_least(1, num_train_per_domain=num_train_per_domain)
        check_pair(num_samples=num_samples)
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
    def records(self, split: LabeledSplit) -> list[ImageRecord]:
        """Names, such as ``t10k-04017 blurred``, and ``source`` attributes of the images of a split."""
        return [
            ImageRecord(f"{_file_of(source, split)}-{number:05d} {source}", {"source": source})
            for source, indices in self._indices(split).items()
            for number in indices
        ]

    @override
    def make_dataset(self, split: Split) -> Dataset[Any]:
        """Create the images of a split."""
        assert split != "predict"
        parts = [self._images(source, split, indices) for source, indices in self._indices(split).items()]
        images = LabeledImages(*(np.concatenate(values) for values in zip(*parts, strict=True)))
        return LabeledImageDataset(
            images, self.train_transform if split == "train" else None, self.domain_lookup(split)
        )

    def _indices(self, split: LabeledSplit) -> Mapping[str, Int64[np.ndarray, " images"]]:
        """Indices of the images of each domain in their file."""
        wanted = [source for source in self.vocabulary["source"] if self.is_wanted({"source": source})]
        if not wanted:
            raise ValueError(f"expected images, got none with keep_attributes={self.keep_attributes}")
        archive = self._read()
        num_colored, num_plain = len(archive.colored.labels), len(archive.train.labels)
        val_begin, test_begin = num_colored * 8 // 10, num_colored * 9 // 10
        if split == "val":
            return dict.fromkeys(wanted, np.arange(val_begin, test_begin))
        if split == "test":
            return dict.fromkeys(wanted, np.arange(test_begin, num_colored))
        count = min(self.num_train_per_domain, val_begin, num_plain // len(_MADE_OF_MNIST))
        draw = np.random.default_rng(0)
        plain = draw.permutation(num_plain)
        of_plain = {source: plain[place :: len(_MADE_OF_MNIST)] for place, source in enumerate(_MADE_OF_MNIST)}
        chosen = of_plain | {_COLORED: draw.permutation(val_begin)}
        return {source: chosen[source][:count] for source in wanted}

    def _images(self, source: str, split: LabeledSplit, indices: Int64[np.ndarray, " images"]) -> LabeledImages:
        archive = self._read()
        if source == _COLORED:
            return archive.colored.at(indices)
        digits = archive.train if split == "train" else archive.t10k
        return LabeledImages(in_look(digits.images[indices], _MADE_OF_MNIST[source]), digits.labels[indices])

    def _read(self) -> "_Archive":
        if self._archive is None:
            self._archive = _read_archive(self._folder())
        return self._archive

    def _folder(self) -> Path:
        return sample_digits(*self.num_samples) if self.root is None else Path(self.root).expanduser()


class _Archive(NamedTuple):
    train: Digits
    t10k: Digits
    colored: LabeledImages


def _read_archive(root: Path) -> _Archive:
    train, t10k = read_mnist(root / "mnist", "train"), read_mnist(root / "mnist", "t10k")
    colored = read_mnist_m(root / "mnist_m")
    if len(train.labels) < len(_MADE_OF_MNIST):
        raise ValueError(
            f"{root / 'mnist'}: expected {len(_MADE_OF_MNIST)} training images or more, to split them among "
            f"the domains {tuple(_MADE_OF_MNIST)}, got {len(train.labels)}"
        )
    if len(colored.labels) < 10:
        raise ValueError(f"{root / 'mnist_m'}: expected ten images or more, to split them, got {len(colored.labels)}")
    check_same_digits(root, colored.labels, t10k.labels)
    return _Archive(train, t10k, colored)


def _file_of(source: str, split: LabeledSplit) -> str:
    return "train" if split == "train" and source != _COLORED else "t10k"
