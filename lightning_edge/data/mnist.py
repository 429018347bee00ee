"""MNIST and MNIST-M, split so that no digit for training in one of them is used for evaluation in the other.

Sources: MNIST, LeCun et al., *Gradient-based learning applied to document recognition*, 1998; MNIST-M, Ganin and
Lempitsky, arXiv:1409.7495.
"""

from pathlib import Path

from typing_extensions import override

from lightning_edge.data.digit_sets import DigitSetDataModule
from lightning_edge.data.files import names_in
from lightning_edge.data.formats.digits import Digits, check_same_digits, read_mnist, read_mnist_m, read_mnist_m_labels
from lightning_edge.data.images.augmentation import Transform
from lightning_edge.data.images.digit_looks import DigitLook, check_look, in_look
from lightning_edge.data.labeled_images import LabeledImages
from lightning_edge.samples.digits import sample_digits

_MNIST, _MNIST_M = "mnist", "mnist_m"


class MNISTDataModule(DigitSetDataModule):
    """MNIST, padded to 32x32 pixels: white digits on black, or another look of them.

    Image k of MNIST-M is image k of MNIST's test file ``t10k``, and four fifths of MNIST-M are for training and
    validation (:class:`MNISTMDataModule`). So the plain look is tested on those images of ``t10k`` that have no
    counterpart among them: the last 6,000 if ``root`` has the first 5,000 images of MNIST-M. **If root has no folder**
    ``mnist_m``, **the test images are all of** ``t10k``. Training and validation use the training file, the last tenth
    of it for validation.

    The other looks are target domains. They have the digits of MNIST-M, in the splits of :class:`MNISTMDataModule`, so
    that the plain look shares no digit with their training, and they need MNIST-M's list of classes.

    Args:
        root: Folder with ``mnist/`` and, to keep its digits apart, ``mnist_m/``, as published. If ``None``, small
            generated images in the same layout are used.
        look: ``plain``, ``inverted`` or ``blurred``.
        num_train: See :class:`~lightning_edge.data.digit_sets.DigitSetDataModule`.
        num_samples: Numbers of images in the generated training file and test file. MNIST-M has the digits of the test
            file.
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
        look: DigitLook = "plain",
        num_train: int | None = None,
        num_samples: tuple[int, int] = (2400, 1000),
        train_transform: Transform | None = None,
        batch_size: int = 128,
        eval_batch_size: int | None = None,
        num_workers: int = 2,
        seed: int = 0,
    ) -> None:
        super().__init__(root, num_train, num_samples, train_transform, batch_size, eval_batch_size, num_workers, seed)
        check_look(look)
        self.look: DigitLook = look

    @override
    def sample_folder(self) -> Path:
        return sample_digits(*self.num_samples)

    @override
    def read_for_training(self, root: Path) -> LabeledImages:
        if self.look == "plain":
            return self._images(read_mnist(root / _MNIST, "train"), slice(None))
        t10k = read_mnist(root / _MNIST, "t10k")
        return self._images(t10k, slice(_num_for_training(_num_colored(root, t10k))))

    @override
    def read_for_testing(self, root: Path) -> LabeledImages:
        t10k = read_mnist(root / _MNIST, "t10k")
        if self.look == "plain" and _MNIST_M not in names_in(root):
            return self._images(t10k, slice(None))
        num_colored = _num_colored(root, t10k)
        end = None if self.look == "plain" else num_colored
        return self._images(t10k, slice(_num_for_training(num_colored), end))

    def _images(self, digits: Digits, part: slice) -> LabeledImages:
        return LabeledImages(in_look(digits.images[part], self.look), digits.labels[part])


class MNISTMDataModule(DigitSetDataModule):
    """The test part of MNIST-M, or its first images: digits of MNIST on patches of photographs.

    Only the test part is used, because it is small and its digits are not in MNIST's training file. Its first 72 % are
    for training, the next 8 % for validation and the last 20 % for testing. Of the first 5,000 images these are 3,600,
    400 and 1,000.

    Args:
        root: Folder with ``mnist_m/`` as published. If ``None``, small generated images in the same layout are used.
        num_train: See :class:`~lightning_edge.data.digit_sets.DigitSetDataModule`.
        num_samples: Numbers of images in the generated MNIST, of which the test images are those of MNIST-M.
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
        return sample_digits(*self.num_samples)

    @override
    def read_for_training(self, root: Path) -> LabeledImages:
        images = read_mnist_m(root / _MNIST_M)
        return images.at(slice(_num_for_training(len(images.labels))))

    @override
    def read_for_testing(self, root: Path) -> LabeledImages:
        images = read_mnist_m(root / _MNIST_M)
        return images.at(slice(_num_for_training(len(images.labels)), None))


def _num_for_training(num_colored: int) -> int:
    """Number of digits of MNIST-M that are used for training and validation; the others are for testing."""
    return num_colored * 8 // 10


def _num_colored(root: Path, t10k: Digits) -> int:
    labels = read_mnist_m_labels(root / _MNIST_M)
    check_same_digits(root, labels, t10k.labels)
    return len(labels)
