"""SVHN: 73,257 training images and 26,032 test images of digits of house numbers in street views.

Source: Netzer et al., *Reading Digits in Natural Images with Unsupervised Feature Learning*, 2011.
"""

from pathlib import Path

from typing_extensions import override

from lightning_edge.data.digit_sets import DigitSetDataModule
from lightning_edge.data.formats.svhn import read_svhn
from lightning_edge.data.labeled_images import LabeledImages
from lightning_edge.samples.svhn import sample_svhn


class SVHNDataModule(DigitSetDataModule):
    """SVHN with cropped digits of 32x32 pixels. Parts of other digits of the number are often visible at the sides.

    The additional, easier part ``extra`` is not used, as is usual in domain adaptation.

    Args:
        root: Folder with ``svhn/``, which contains ``train_32x32.mat`` and ``test_32x32.mat``. If ``None``, small
            generated images in the same layout are used.
        num_train: See :class:`~lightning_edge.data.digit_sets.DigitSetDataModule`.
        num_samples: Numbers of generated images for training and for testing.
        train_transform: See :class:`~lightning_edge.data.digit_sets.DigitSetDataModule`.
        batch_size: Number of images in a training batch of one process.
        eval_batch_size: Number of images in a validation or test batch; ``batch_size`` if ``None``.
        num_workers: Number of processes that augment images, for each data loader.
        seed: Seed of the order of the training samples and of their augmentation.

    Raises:
        ValueError: An argument is out of range.
    """

    @override
    def sample_folder(self) -> Path:
        return sample_svhn(*self.num_samples)

    @override
    def read_for_training(self, root: Path) -> LabeledImages:
        return read_svhn(root / "svhn", "train")

    @override
    def read_for_testing(self, root: Path) -> LabeledImages:
        return read_svhn(root / "svhn", "test")
