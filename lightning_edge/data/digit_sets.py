"""Base of the data modules for one set of digits each, such as MNIST, for adaptation from one set to another."""

from abc import abstractmethod
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import Dataset
from typing_extensions import override

from lightning_edge.checks import check_pair, check_whole_at_least
from lightning_edge.contracts import ClassificationBatch
from lightning_edge.data.base import EdgeDataModule, Split
from lightning_edge.data.images.augmentation import RandomShift, Transform
from lightning_edge.data.labeled_images import LabeledImageDataset, LabeledImages

NUM_CLASSES = 10


class DigitSetDataModule(EdgeDataModule):
    """Ten digits in color images of 32x32 pixels, which are kept in memory. A subclass reads the files.

    The last tenth of the images for training is used for validation instead.

    Args:
        root: Folder that contains a folder of each data set: ``mnist/``, ``mnist_m/``, ``usps/`` or ``svhn/``. If
            ``None``, small generated images in the same layout are used.
        num_train: Largest number of training images; all if ``None``. The images of a smaller number are a subset of
            those of a larger one, and do not depend on the seed.
        num_samples: Numbers of generated images for training and for testing.
        train_transform: Augmentation from albumentations; :class:`~lightning_edge.data.images.augmentation.RandomShift`
            if ``None``. Use ``albumentations.NoOp()`` for no augmentation.
        batch_size: Number of images in a training batch of one process.
        eval_batch_size: Number of images in a validation or test batch; ``batch_size`` if ``None``.
        num_workers: Number of processes that augment images, for each data loader.
        seed: Seed of the order of the training samples and of their augmentation.

    Raises:
        ValueError: An argument is out of range.
    """

    batch_type = ClassificationBatch
    num_classes = NUM_CLASSES
    class_names = tuple(map(str, range(NUM_CLASSES)))

    def __init__(
        self,
        root: str | Path | None = None,
        num_train: int | None = None,
        num_samples: tuple[int, int] = (2400, 1000),
        train_transform: Transform | None = None,
        batch_size: int = 128,
        eval_batch_size: int | None = None,
        num_workers: int = 2,
        seed: int = 0,
    ) -> None:
        super().__init__(batch_size, eval_batch_size, num_workers, seed)
        if num_train is not None:
            check_whole_at_least(1, num_train=num_train)
        check_pair(num_samples=num_samples)
        self.root = root
        self.num_train = num_train
        self.num_samples = num_samples
        self.train_transform = RandomShift() if train_transform is None else train_transform
        self._for_training: LabeledImages | None = None

    @abstractmethod
    def sample_folder(self) -> Path:
        """Folder of the sample data, which takes the place of ``root``."""

    @abstractmethod
    def read_for_training(self, root: Path) -> LabeledImages:
        """Images for training and validation, in a fixed order."""

    @abstractmethod
    def read_for_testing(self, root: Path) -> LabeledImages:
        """Images for testing, in a fixed order."""

    @override
    def prepare_data(self) -> None:
        """Generate the sample data, on one process only."""
        self._folder()

    @override
    def make_dataset(self, split: Split) -> Dataset[Any]:
        """Read the images of a split."""
        assert split != "predict"
        if split == "test":
            return LabeledImageDataset(self.read_for_testing(self._folder()))
        if self._for_training is None:
            self._for_training = self.read_for_training(self._folder())
        images = self._for_training
        if len(images.labels) < 2:
            raise ValueError(
                f"{self._folder()}: expected two training images or more for {type(self).__name__}, one of them for "
                f"validation, got {len(images.labels)}"
            )
        val_begin = len(images.labels) * 9 // 10
        if split == "val":
            return LabeledImageDataset(images.at(slice(val_begin, None)))
        return LabeledImageDataset(self._subset(images.at(slice(val_begin))), self.train_transform)

    def _subset(self, images: LabeledImages) -> LabeledImages:
        if self.num_train is None or self.num_train >= len(images.labels):
            return images
        return images.at(np.random.default_rng(0).permutation(len(images.labels))[: self.num_train])

    def _folder(self) -> Path:
        return self.sample_folder() if self.root is None else Path(self.root).expanduser()
