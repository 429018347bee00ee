"""Splits of CIFAR into training, validation and test images, and the names of its classes."""

import math
from numbers import Real
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from jaxtyping import Int64

from lightning_edge.checks import check_pair
from lightning_edge.contracts import LabeledSplit
from lightning_edge.data.formats.cifar import NumClasses, read_cifar
from lightning_edge.data.labeled_images import LabeledImages
from lightning_edge.samples.cifar import CLASS_NAMES, sample_cifar

CIFARPart = Literal["train", "test"]
"""Parts in which CIFAR is published."""

_CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_CIFAR100 = (
    "apple", "aquarium_fish", "baby", "bear", "beaver", "bed", "bee", "beetle", "bicycle", "bottle", "bowl",
    "boy", "bridge", "bus", "butterfly", "camel", "can", "castle", "caterpillar", "cattle", "chair",
    "chimpanzee", "clock", "cloud", "cockroach", "couch", "crab", "crocodile", "cup", "dinosaur", "dolphin",
    "elephant", "flatfish", "forest", "fox", "girl", "hamster", "house", "kangaroo", "keyboard", "lamp",
    "lawn_mower", "leopard", "lion", "lizard", "lobster", "man", "maple_tree", "motorcycle", "mountain",
    "mouse", "mushroom", "oak_tree", "orange", "orchid", "otter", "palm_tree", "pear", "pickup_truck",
    "pine_tree", "plain", "plate", "poppy", "porcupine", "possum", "rabbit", "raccoon", "ray", "road",
    "rocket", "rose", "sea", "seal", "shark", "shrew", "skunk", "skyscraper", "snail", "snake", "spider",
    "squirrel", "streetcar", "sunflower", "sweet_pepper", "table", "tank", "telephone", "television", "tiger",
    "tractor", "train", "trout", "tulip", "turtle", "wardrobe", "whale", "willow_tree", "wolf", "woman",
    "worm",
)  # fmt: skip
_NAMES: dict[NumClasses, tuple[str, ...]] = {10: _CIFAR10, 100: _CIFAR100}
"""Class names in the order of ``batches.meta`` and ``meta``."""


class CIFARSplits:
    """The images of CIFAR-10 or CIFAR-100, which are read once, and the indices of each split.

    A fixed share of the training images of each class is used for validation. The images of a smaller
    ``train_fraction`` are a subset of those of every larger one.

    Args:
        root: Folder with the unpacked archive. If ``None``, small generated images in the same layout are used.
        num_classes: 10 or 100.
        val_fraction: Share of the training images that is used for validation. With 0, validation uses the test images.
        train_fraction: Share of the remaining images that is used for training.
        num_samples: Numbers of generated images for training and for testing.

    Raises:
        ValueError: An argument is out of range.
    """

    def __init__(
        self,
        root: str | Path | None,
        num_classes: NumClasses,
        val_fraction: float,
        train_fraction: float,
        num_samples: tuple[int, int],
    ) -> None:
        if num_classes not in get_args(NumClasses):
            raise ValueError(f"expected num_classes of 10 or 100, got {num_classes!r}")
        if not isinstance(val_fraction, Real) or not 0 <= val_fraction < 1:
            raise ValueError(f"expected val_fraction within [0, 1), got {val_fraction!r}")
        if not isinstance(train_fraction, Real) or not 0 < train_fraction <= 1:
            raise ValueError(f"expected train_fraction within (0, 1], got {train_fraction!r}")
        check_pair(num_samples=num_samples)
        self.root = root
        self.num_classes: NumClasses = num_classes
        self.class_names = (CLASS_NAMES if root is None else _NAMES)[num_classes]
        self.val_fraction = val_fraction
        self.train_fraction = train_fraction
        self.num_samples = num_samples
        self._parts: dict[CIFARPart, LabeledImages] = {}

    def folder(self) -> Path:
        """Folder of the archive. Without ``root``, it is generated on the first call."""
        if self.root is None:
            return sample_cifar(*self.num_samples, self.num_classes)
        return Path(self.root).expanduser()

    def part_of(self, split: LabeledSplit) -> CIFARPart:
        """Part of the archive that a split is taken from."""
        return "test" if split == "test" or (split == "val" and not self.val_fraction) else "train"

    def read(self, part: CIFARPart) -> LabeledImages:
        """All images of a part, in the order of its files."""
        if part not in self._parts:
            self._parts[part] = read_cifar(self.folder(), self.num_classes, part)
        return self._parts[part]

    def indices(self, split: LabeledSplit) -> Int64[np.ndarray, " images"]:
        """Indices of the images of a split in their part, in ascending order."""
        labels = self.read(self.part_of(split)).labels
        if self.part_of(split) == "test":
            return np.arange(len(labels))
        validation = _share_of_each_class(labels, self.val_fraction)
        if split == "val":
            return validation
        others = np.setdiff1d(np.arange(len(labels)), validation)
        if not len(others):
            raise ValueError(
                f"expected val_fraction to leave images to train on, got {self.val_fraction} of {len(labels)} images"
            )
        return others[_share_of_each_class(labels[others], self.train_fraction)]


def shuffled_classes(labels: Int64[np.ndarray, " images"]) -> list[np.ndarray]:
    """Indices of the images of each class, in a fixed random order. Shares of a class are taken in this order."""
    order = np.random.default_rng(0).permutation(len(labels))
    return [order[labels[order] == label] for label in np.unique(labels)]


def _share_of_each_class(labels: np.ndarray, fraction: float) -> np.ndarray:
    """Ascending indices of the first images of each class in a fixed order, at least one."""
    of_classes = shuffled_classes(labels)
    # 1e-9, because rounding can make fraction * len(images) a little larger than a whole number
    return np.sort(np.concatenate([images[: math.ceil(fraction * len(images) - 1e-9)] for images in of_classes]))
