"""USPS: 7,291 training images and 2,007 test images of handwritten digits of postal codes.

Source: Hull, *A database for handwritten text recognition research*, 1994.
"""

from pathlib import Path

import cv2
import numpy as np
from typing_extensions import override

from lightning_edge.data.digit_sets import DigitSetDataModule
from lightning_edge.data.formats.digits import Digits
from lightning_edge.data.formats.usps import SIZE_PX, read_usps
from lightning_edge.data.images import digit_looks
from lightning_edge.data.images.augmentation import Transform
from lightning_edge.data.images.digit_looks import in_look
from lightning_edge.data.labeled_images import LabeledImages
from lightning_edge.samples.usps import sample_usps


class USPSDataModule(DigitSetDataModule):
    """USPS: white digits on black, scaled and padded to 32x32 pixels.

    The images of 16x16 pixels are scaled bilinearly to 28x28, the size of MNIST's images, and padded as MNIST. French
    et al. (arXiv:1706.05208) do the same, so that numbers can be compared. A digit of USPS fills its image, but a digit
    of MNIST only a box of 20 pixels in its center. So digits of USPS appear larger; ``scaled_px=20`` gives them MNIST's
    size, which makes adaptation easier.

    Args:
        root: Folder with ``usps/``, which contains ``usps.h5``, or ``usps.bz2`` and ``usps.t.bz2`` of LIBSVM, or these
            two unpacked. ``usps.h5`` is preferred and needs the extra ``adaptation``. If ``None``, small generated
            images in the same layout are used.
        scaled_px: Height and width of a digit's image before it is padded: an even number from 16 to 32.
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

    def __init__(
        self,
        root: str | Path | None = None,
        scaled_px: int = 28,
        num_train: int | None = None,
        num_samples: tuple[int, int] = (2400, 1000),
        train_transform: Transform | None = None,
        batch_size: int = 128,
        eval_batch_size: int | None = None,
        num_workers: int = 2,
        seed: int = 0,
    ) -> None:
        super().__init__(root, num_train, num_samples, train_transform, batch_size, eval_batch_size, num_workers, seed)
        if scaled_px not in range(SIZE_PX, digit_looks.SIZE_PX + 1, 2):
            raise ValueError(
                f"expected scaled_px as an even number from {SIZE_PX} to {digit_looks.SIZE_PX}, got {scaled_px!r}"
            )
        self.scaled_px = scaled_px

    @override
    def sample_folder(self) -> Path:
        return sample_usps(*self.num_samples)

    @override
    def read_for_training(self, root: Path) -> LabeledImages:
        return self._images(read_usps(root / "usps", "train"))

    @override
    def read_for_testing(self, root: Path) -> LabeledImages:
        return self._images(read_usps(root / "usps", "test"))

    def _images(self, digits: Digits) -> LabeledImages:
        size = (self.scaled_px, self.scaled_px)
        scaled = np.stack([cv2.resize(image, size, interpolation=cv2.INTER_LINEAR) for image in digits.images])
        return LabeledImages(in_look(scaled, "plain"), digits.labels)
