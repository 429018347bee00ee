"""CIFAR-10 and CIFAR-100: 50,000 training images and 10,000 test images of 32x32 pixels, in 10 or 100 classes.

Source: A. Krizhevsky, *Learning Multiple Layers of Features from Tiny Images*, 2009.
"""

from pathlib import Path
from typing import Any

from torch.utils.data import Dataset

from lightning_edge.contracts import ClassificationBatch
from lightning_edge.data.base import EdgeDataModule, Split
from lightning_edge.data.formats.cifar import NumClasses
from lightning_edge.data.formats.cifar_splits import CIFARSplits
from lightning_edge.data.images.augmentation import CropFlip, Transform
from lightning_edge.data.labeled_images import LabeledImageDataset


class CIFARDataModule(EdgeDataModule):
    """CIFAR-10, or CIFAR-100 with its fine classes. All images are kept in memory as bytes.

    A fixed share of the training images of each class is used for validation. The images of a smaller
    ``train_fraction`` are a subset of those of every larger one.

    Args:
        root: Folder with the unpacked archive, in the Python version or the binary version. If ``None``, small
            generated images in the same layout are used.
        num_classes: 10 or 100.
        val_fraction: Share of the training images that is used for validation. With 0, validation uses the test images,
            as in papers that report the best epoch.
        train_fraction: Share of the remaining images that is used for training.
        num_samples: Numbers of generated images for training and for testing.
        train_transform: Augmentation from albumentations; :class:`~lightning_edge.data.images.augmentation.CropFlip` if
            ``None``. Use ``albumentations.NoOp()`` for no augmentation.
        batch_size: Number of images in a training batch of one process.
        eval_batch_size: Number of images in a validation or test batch; ``batch_size`` if ``None``.
        num_workers: Number of processes that augment images, for each data loader.
        seed: Seed of the order of the training samples and of their augmentation.

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
        self._splits = CIFARSplits(root, num_classes, val_fraction, train_fraction, num_samples)
        self.num_classes, self.class_names = self._splits.num_classes, self._splits.class_names
        self.train_transform = CropFlip() if train_transform is None else train_transform

    def prepare_data(self) -> None:
        """Generate the sample data, on one process only."""
        self._splits.folder()

    def make_dataset(self, split: Split) -> Dataset[Any]:
        """Read the images of a split."""
        assert split != "predict"
        images = self._splits.read(self._splits.part_of(split)).at(self._splits.indices(split))
        return LabeledImageDataset(images, self.train_transform if split == "train" else None)
