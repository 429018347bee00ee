"""The files of MNIST and MNIST-M as they were published.

MNIST (LeCun et al., 1998) is four files in the format idx: a magic number, the sizes, and bytes. MNIST-M (Ganin and
Lempitsky, arXiv:1409.7495) shows the digits of MNIST on pieces of photographs: a folder of PNGs, and a line of text
with the class of each.
"""

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Int64, UInt8

from lightning_edge.data.images import read_image
from lightning_edge.data.labelled_images import LabelledImages

MNISTPart = Literal["train", "t10k"]
"""Parts in which MNIST is published, as its files call them."""

NUM_CLASSES = 10
_SIZE_PX = 28
_COLOURED_SIZE_PX = 32
_BYTES_MAGIC = 0x0800
"""Of idx files of bytes; the number of axes is added."""
_MNIST_SOURCE = "https://ossci-datasets.s3.amazonaws.com/mnist"
_MNIST_M_SOURCE = "http://yaroslav.ganin.net"


class Digits(NamedTuple):
    """Grey images, white on black, and the class of each."""

    images: UInt8[np.ndarray, "num 28 28"]
    labels: Int64[np.ndarray, " num"]


def read_mnist(root: Path, part: MNISTPart) -> Digits:
    """Read a part of MNIST.

    Args:
        root: Folder that holds ``train-images-idx3-ubyte.gz`` and so on.
        part: Which one.

    Raises:
        FileNotFoundError: A file is missing.
        ValueError: A file is broken, or is not what its name says.
    """
    images_path, labels_path = root / f"{part}-images-idx3-ubyte.gz", root / f"{part}-labels-idx1-ubyte.gz"
    images, labels = _read_idx(images_path, 3), _read_idx(labels_path, 1)
    if images.shape[1:] != (_SIZE_PX, _SIZE_PX):
        raise ValueError(f"{images_path}: expected images of {_SIZE_PX}x{_SIZE_PX} pixels, got {images.shape[1:]}")
    if len(labels) != len(images):
        raise ValueError(f"{labels_path}: expected a class for each of {len(images)} images, got {len(labels)}")
    if (labels >= NUM_CLASSES).any():
        raise ValueError(f"{labels_path}: expected classes within [0, {NUM_CLASSES}), got {labels.max()}")
    return Digits(images, labels.astype(np.int64))


def read_mnist_m(root: Path) -> LabelledImages:
    """Read the testing part of MNIST-M, or as many images as the file of classes names.

    Args:
        root: Folder that holds ``mnist_m_test_labels.txt`` and ``mnist_m_test/``.

    Raises:
        FileNotFoundError: A file is missing.
        ValueError: A file is broken, or the images are not numbered from 0 on.
    """
    labels_path, folder = root / "mnist_m_test_labels.txt", root / "mnist_m_test"
    _require(labels_path, _MNIST_M_SOURCE)
    labels = np.array(_read_labels(labels_path), np.int64)
    paths = [folder / _image_name(number) for number in range(len(labels))]
    missing = [path.name for path in paths if not path.is_file()]
    if missing:
        raise FileNotFoundError(
            f"{folder}: expected the {len(paths)} images that {labels_path.name} names, got none named {missing[0]}"
            + (f" and {len(missing) - 1} others" if len(missing) > 1 else "")
        )
    images = np.empty((len(paths), _COLOURED_SIZE_PX, _COLOURED_SIZE_PX, 3), np.uint8)
    for row, path in zip(images, paths, strict=True):
        image = read_image(path)
        if image.shape != row.shape:
            raise ValueError(f"{path}: expected an image of {row.shape[:2]} pixels, got {image.shape[:2]}")
        row[:] = image
    return LabelledImages(images, labels)


def _read_idx(path: Path, num_axes: int) -> np.ndarray:
    _require(path, _MNIST_SOURCE)
    try:
        content = gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path}: cannot be unpacked ({error}); copy or download it again") from None
    begin = 4 + 4 * num_axes
    if len(content) < begin:
        raise ValueError(f"{path}: expected {begin} bytes or more, got {len(content)}; copy or download it again")
    magic, *sizes = struct.unpack(f">{1 + num_axes}I", content[:begin])
    if magic != _BYTES_MAGIC + num_axes:
        raise ValueError(
            f"{path}: expected the magic number of bytes along {num_axes} axes ({_BYTES_MAGIC + num_axes}), "
            f"got {magic}; is this another file?"
        )
    if len(content) - begin != math.prod(sizes):
        raise ValueError(
            f"{path}: expected {math.prod(sizes)} bytes for the sizes {tuple(sizes)}, got {len(content) - begin}; "
            "copy or download it again"
        )
    return np.frombuffer(content, np.uint8, offset=begin).reshape(sizes)


def _read_labels(path: Path) -> list[int]:
    labels = []
    for number, line in enumerate(path.read_text(errors="replace").splitlines()):
        name, _, label = line.strip().partition(" ")
        if name != _image_name(number) or label not in set(map(str, range(NUM_CLASSES))):
            raise ValueError(
                f"{path}, line {number + 1}: expected {_image_name(number)!r} and a class within [0, {NUM_CLASSES}), "
                f"got {line!r:.80}"
            )
        labels.append(int(label))
    return labels


def _image_name(number: int) -> str:
    return f"{number:08d}.png"


def _require(path: Path, source: str) -> None:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: expected this file, found none; get it at {source}")
