"""Files of MNIST and MNIST-M as they were published.

MNIST (LeCun et al., 1998) consists of four files in the format idx: a magic number, the sizes, and bytes. MNIST-M
(Ganin and Lempitsky, arXiv:1409.7495) has the digits of MNIST on patches of photographs: a folder of PNG files, and a
text file with the class of each.
"""

import math
import struct
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Int64, UInt8

from lightning_edge.data.files import names_in, read_file
from lightning_edge.data.formats.unpacking import unpack_gzip
from lightning_edge.data.images.files import read_image
from lightning_edge.data.labeled_images import LabeledImages

MNISTPart = Literal["train", "t10k"]
"""Parts in which MNIST is published, as they are named in its files."""

NUM_CLASSES = 10
_CLASSES = frozenset(map(str, range(NUM_CLASSES)))
_SIZE_PX = 28
_COLORED_SIZE_PX = 32
_COLORED_LABELS = "mnist_m_test_labels.txt"
_BYTES_MAGIC = 0x0800
"""Magic number of idx files of bytes, to which the number of axes is added."""
_MAX_IMAGES = 2**18
"""Largest number of images that a header may declare, four times that of MNIST's largest file."""
_MAX_FILE_BYTES = 2**28
"""Size limit: that many pixels, and what gzip may add if it does not shrink them."""
_MAX_LABELS_BYTES = 2**22
"""Size limit of MNIST-M's text file, five times that of its training part."""
_MNIST_SOURCE = "https://ossci-datasets.s3.amazonaws.com/mnist"
_MNIST_M_SOURCE = "http://yaroslav.ganin.net"


class Digits(NamedTuple):
    """Gray images, white on black, and the class of each."""

    images: UInt8[np.ndarray, "num size size"]
    labels: Int64[np.ndarray, " num"]


def read_mnist(root: Path, part: MNISTPart) -> Digits:
    """Read a part of MNIST.

    Args:
        root: Folder that contains ``train-images-idx3-ubyte.gz`` and so on.
        part: Part to read.

    Raises:
        FileNotFoundError: A file is missing.
        ValueError: A file is damaged, or its content does not match its name.
    """
    images_path, labels_path = root / f"{part}-images-idx3-ubyte.gz", root / f"{part}-labels-idx1-ubyte.gz"
    images, labels = _read_idx(images_path, (_SIZE_PX, _SIZE_PX)), _read_idx(labels_path, ())
    if len(labels) != len(images):
        raise ValueError(f"{labels_path}: expected a class for each of {len(images)} images, got {len(labels)}")
    if (labels >= NUM_CLASSES).any():
        raise ValueError(f"{labels_path}: expected classes within [0, {NUM_CLASSES}), got {labels.max()}")
    return Digits(images, labels.astype(np.int64))


def read_mnist_m(root: Path) -> LabeledImages:
    """Read the test part of MNIST-M, or as many images as its text file lists.

    Args:
        root: Folder that contains ``mnist_m_test_labels.txt`` and ``mnist_m_test/``.

    Raises:
        FileNotFoundError: A file is missing.
        ValueError: A file is damaged, or the images are not numbered from 0.
    """
    labels, folder = read_mnist_m_labels(root), root / "mnist_m_test"
    names = [_image_name(number) for number in range(len(labels))]
    present = names_in(folder)
    missing = [name for name in names if name not in present]
    if missing:
        raise FileNotFoundError(
            f"{folder}: expected the {len(names)} images that {_COLORED_LABELS} lists, got no {missing[0]}"
            + (f" and {len(missing) - 1} others" if len(missing) > 1 else "")
        )
    images = np.empty((len(names), _COLORED_SIZE_PX, _COLORED_SIZE_PX, 3), np.uint8)
    for row, path in zip(images, (folder / name for name in names), strict=True):
        image = read_image(path)
        if image.shape != row.shape:
            raise ValueError(f"{path}: expected an image of {row.shape[:2]} pixels, got {image.shape[:2]}")
        row[:] = image
    return LabeledImages(images, labels)


def read_mnist_m_labels(root: Path) -> Int64[np.ndarray, " num"]:
    """Classes of the images that :func:`read_mnist_m` reads. Arguments and errors are the same."""
    path = root / _COLORED_LABELS
    text = read_file(path, _MAX_LABELS_BYTES, f"download it from {_MNIST_M_SOURCE}").decode(
        "utf-8-sig", errors="replace"
    )
    return np.array([_label(path, number, line) for number, line in enumerate(text.splitlines())], np.int64)


def check_same_digits(root: Path, mnist_m: Int64[np.ndarray, " colored"], t10k: Int64[np.ndarray, " num"]) -> None:
    """Raise a ``ValueError`` unless image k of MNIST-M has the class of image k of MNIST's test file.

    Training and evaluation would overlap if the images had another order.

    Args:
        root: Folder of both data sets, for the error.
        mnist_m: Classes of MNIST-M.
        t10k: Classes of MNIST's test file.
    """
    if not np.array_equal(mnist_m, t10k[: len(mnist_m)]):
        raise ValueError(
            f"{root / 'mnist_m'}: expected image k to be image k of MNIST's t10k, got other classes than in "
            f"{root / 'mnist'}"
        )


def _read_idx(path: Path, item_shape: tuple[int, ...]) -> UInt8[np.ndarray, "num *item"]:
    """Check the header of a gzipped idx file, and then unpack no more bytes than it declares."""
    packed = read_file(path, _MAX_FILE_BYTES, f"download it from {_MNIST_SOURCE}")
    begin = 4 + 4 * (1 + len(item_shape))
    shape = _shape(path, unpack_gzip(path, packed, begin), 1 + len(item_shape))
    if shape[1:] != item_shape:
        raise ValueError(f"{path}: expected images of {_SIZE_PX}x{_SIZE_PX} pixels, got {shape[1:]}")
    if not 1 <= shape[0] <= _MAX_IMAGES:
        raise ValueError(f"{path}: expected 1 to {_MAX_IMAGES} images, got a file that declares {shape[0]}")
    expected = math.prod(shape)
    content = unpack_gzip(path, packed, begin + expected + 1)
    if len(content) != begin + expected:
        got = "more" if len(content) > begin + expected else len(content) - begin
        raise ValueError(
            f"{path}: expected {expected} bytes for the sizes {shape}, got {got}; copy or download it again"
        )
    return np.frombuffer(content, np.uint8, offset=begin).reshape(shape)


def _shape(path: Path, header: bytes, num_axes: int) -> tuple[int, ...]:
    if len(header) < 4 + 4 * num_axes:
        raise ValueError(
            f"{path}: expected {4 + 4 * num_axes} bytes or more, got {len(header)}; copy or download it again"
        )
    magic, *shape = struct.unpack(f">{1 + num_axes}I", header)
    if magic != _BYTES_MAGIC + num_axes:
        raise ValueError(
            f"{path}: expected the magic number of byte data with {num_axes} axes ({_BYTES_MAGIC + num_axes}), "
            f"got {magic}; is this another file?"
        )
    return tuple(shape)


def _label(path: Path, number: int, line: str) -> int:
    name, _, label = line.strip().partition(" ")
    if name != _image_name(number) or label not in _CLASSES:
        raise ValueError(
            f"{path}, line {number + 1}: expected {_image_name(number)!r} and a class within [0, {NUM_CLASSES}), "
            f"got {line[:80]!r}"
        )
    return int(label)


def _image_name(number: int) -> str:
    return f"{number:08d}.png"
