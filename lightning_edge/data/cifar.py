"""CIFAR-10 and CIFAR-100: 50,000 images for training and 10,000 for testing, 32x32 pixels, in 10 or 100 classes.

Source: A. Krizhevsky, *Learning Multiple Layers of Features from Tiny Images*, 2009.
"""

import math
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from lightning_edge.contracts import ClassificationBatch
from lightning_edge.data.augmentation import CropFlip, Transform, apply_seeded
from lightning_edge.data.base import EdgeDataModule, Split
from lightning_edge.data.cifar_archive import LabelledImages, NumClasses, read_cifar
from lightning_edge.data.loading import Draw
from lightning_edge.samples.cifar import CLASS_NAMES, sample_cifar

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
"""In the order of ``batches.meta`` and ``meta``."""


class CIFARDataModule(EdgeDataModule):
    """CIFAR-10 or, with its fine classes, CIFAR-100; all images are held in memory as bytes.

    A share of the training images is held out for validation, always the same ones and alike in all classes.
    A smaller ``train_fraction`` is a part of every larger one.

    Args:
        root: folder with the unpacked archive, the version for Python or the binary one; small generated images in the
            same layout if ``None``.
        num_classes: 10 or 100.
        val_fraction: share of the training images that validation takes; at 0 it takes the test images, as papers do
            that report the best epoch.
        train_fraction: share of the remaining images that is trained on.
        num_samples: generated images for training and testing.
        train_transform: augmentation from albumentations; :class:`~lightning_edge.data.augmentation.CropFlip` if
            ``None``, and ``albumentations.NoOp()`` is none.
        batch_size: images in a training batch of one process.
        eval_batch_size: images in a validation or test batch; ``batch_size`` if ``None``.
        num_workers: processes that augment images, for each loader.
        seed: of order and augmentation.

    Raises:
        ValueError: An argument is out of range.
    """

    batch_type = ClassificationBatch

    def __init__(
        self,
        root: str | Path | None = None,
        num_classes: NumClasses = 10,
        val_fraction: float = 0.1,
        train_fraction: float = 1.0,
        num_samples: tuple[int, int] = (5000, 1000),
        train_transform: Transform | None = None,
        batch_size: int = 128,
        eval_batch_size: int | None = None,
        num_workers: int = 2,
        seed: int = 0,
    ) -> None:
        super().__init__(batch_size, eval_batch_size, num_workers, seed)
        if num_classes not in get_args(NumClasses):
            raise ValueError(f"expected num_classes of 10 or 100, got {num_classes}")
        if not 0 <= val_fraction < 1:
            raise ValueError(f"expected val_fraction within [0, 1), got {val_fraction}")
        if not 0 < train_fraction <= 1:
            raise ValueError(f"expected train_fraction within (0, 1], got {train_fraction}")
        self.root = root
        self.num_classes: NumClasses = num_classes
        self.class_names = (CLASS_NAMES if root is None else _NAMES)[num_classes]
        self.val_fraction = val_fraction
        self.train_fraction = train_fraction
        self.num_samples = num_samples
        self.train_transform = CropFlip() if train_transform is None else train_transform
        self._train_images: LabelledImages | None = None

    def prepare_data(self) -> None:
        """Generate the sample data, on one process only."""
        self._folder()

    def make_dataset(self, split: Split) -> Dataset[Any]:
        """Read the images of a split."""
        if split == "test" or (split == "val" and not self.val_fraction):
            return _ImageDataset(read_cifar(self._folder(), self.num_classes, "test"))
        if self._train_images is None:
            self._train_images = read_cifar(self._folder(), self.num_classes, "train")
        labels = self._train_images.labels
        held_out = _share_of_each_class(labels, self.val_fraction)
        others = np.setdiff1d(np.arange(len(labels)), held_out)
        if not len(others):
            raise ValueError(
                f"expected val_fraction to leave images to train on, got {self.val_fraction} of {len(labels)} images"
            )
        chosen = held_out if split == "val" else others[_share_of_each_class(labels[others], self.train_fraction)]
        part = LabelledImages(*(values[chosen] for values in self._train_images))
        return _ImageDataset(part, self.train_transform if split == "train" else None)

    def _folder(self) -> Path:
        if self.root is None:
            return sample_cifar(*self.num_samples, self.num_classes)
        return Path(self.root).expanduser()


class _ImageDataset(Dataset[dict[str, Tensor]]):
    def __init__(self, data: LabelledImages, transform: Transform | None = None) -> None:
        self.images, self.labels = data
        self.transform = transform

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, item: Draw | int) -> dict[str, Tensor]:
        index = item.index if isinstance(item, Draw) else item
        image = self.images[index]
        if self.transform is not None and isinstance(item, Draw):
            image = apply_seeded(self.transform, item.seed, image=image)["image"]
        planes = np.ascontiguousarray(image.transpose(2, 0, 1))
        return {"image": torch.from_numpy(planes), "label": torch.tensor(self.labels[index])}


def _share_of_each_class(labels: np.ndarray, fraction: float) -> np.ndarray:
    """Ascending indices of a share of each class, the first in one fixed random order and at least one."""
    order = np.random.default_rng(0).permutation(len(labels))
    of_classes = [order[labels[order] == label] for label in np.unique(labels)]
    # 0.7 * 10 is a little more than 7
    return np.sort(np.concatenate([images[: math.ceil(fraction * len(images) - 1e-9)] for images in of_classes]))
