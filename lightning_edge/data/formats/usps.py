"""Files of USPS, the handwritten digits of postal codes: 16x16 gray pixels, white on black.

Source: Hull, *A database for handwritten text recognition research*, 1994. Two forms are read. ``usps.h5`` has the
groups ``train`` and ``test`` with ``data``, [n, 256] floats in [0, 1], and ``target``, [n] digits. The text files of
LIBSVM have a line for each image, with a class from 1 to 10, which is the digit plus one, and values in [-1, 1].
"""

import re
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float, Num

from lightning_edge.data.files import names_in, read_file
from lightning_edge.data.formats.digits import NUM_CLASSES, Digits
from lightning_edge.data.formats.hdf5 import read_hdf5
from lightning_edge.data.formats.unpacking import unpack_bz2

USPSPart = Literal["train", "test"]
"""Parts in which USPS is published, with 7,291 and 2,007 images."""

SIZE_PX = 16
_NUM_PIXELS = SIZE_PX**2
_MAX_IMAGES = 2**16
"""Largest number of images, nine times that of the larger part."""
_MAX_BYTES = 2**26
"""Size limit of a file and of its unpacked content, about three times that of the larger part as text."""
_SOURCE = "https://www.csie.ntu.edu.tw/~cjlin/libsvmtools/datasets/multiclass.html#usps"
_REMEDY = f"download usps.bz2 and usps.t.bz2 from {_SOURCE}, or usps.h5"
_LINE = re.compile(rb"[^\s:]+(?:[ \t]+\d+:[^\s:]+)*\s*")
"""A class, and pairs of an index and a value."""
_TEXT_NAMES = {"train": "usps", "test": "usps.t"}


def read_usps(root: Path, part: USPSPart) -> Digits:
    """Read a part of USPS.

    Args:
        root: Folder that contains ``usps.h5``, which is preferred and needs the extra ``adaptation``, or ``usps.bz2``
            and ``usps.t.bz2``, or these two unpacked.
        part: Part to read.

    Raises:
        FileNotFoundError: There is no file of either form.
        ImportError: The file is ``usps.h5``, and the extra is not installed.
        ValueError: A file is damaged, or its content is not that of USPS.
    """
    present, text = names_in(root), _TEXT_NAMES[part]
    if "usps.h5" in present:
        return _read_hdf5(root / "usps.h5", part)
    if f"{text}.bz2" in present or text not in present:
        return _read_text(root / f"{text}.bz2")
    return _read_text(root / text)


def _read_hdf5(path: Path, part: USPSPart) -> Digits:
    images, labels = read_hdf5(path, (f"{part}/data", f"{part}/target"), _MAX_BYTES, _REMEDY)
    if images.ndim != 2 or images.shape[1] != _NUM_PIXELS or labels.shape != images.shape[:1]:
        raise ValueError(
            f"{path}: expected {part}/data of shape (n, {_NUM_PIXELS}) and {part}/target of shape (n,), got "
            f"{images.shape} and {labels.shape}"
        )
    return _digits(path, images, labels)


def _read_text(path: Path) -> Digits:
    content = read_file(path, _MAX_BYTES, _REMEDY)
    if path.suffix == ".bz2":
        content = unpack_bz2(path, content, _MAX_BYTES + 1)
        if len(content) > _MAX_BYTES:
            raise ValueError(f"{path}: expected at most {_MAX_BYTES} bytes when it is unpacked, got more")
    if content.count(b"\n") > _MAX_IMAGES:
        raise ValueError(f"{path}: expected at most {_MAX_IMAGES} lines, got more")
    lines = content.split(b"\n")
    if not lines[-1].strip():
        lines.pop()
    images, labels = np.zeros((len(lines), _NUM_PIXELS), np.float32), np.empty(len(lines), np.int64)
    for number, (line, image) in enumerate(zip(lines, images, strict=True)):
        try:
            labels[number] = _parse(line, image)
        except ValueError:
            raise ValueError(
                f"{path}, line {number + 1}: expected a class from 1 to {NUM_CLASSES} and pairs of an index from 1 to "
                f"{_NUM_PIXELS} and a value, got {line[:80].decode(errors='replace')!r}"
            ) from None
    return _digits(path, (images + 1) / 2, labels - 1)


def _parse(line: bytes, image: Float[np.ndarray, " pixels"]) -> int:
    """Write the values of a line into an image, and return the class. Pixels without a value stay 0."""
    if not _LINE.fullmatch(line):
        raise ValueError
    numbers = np.array(line.replace(b":", b" ").split(), float)
    label, indices, values = numbers[0], numbers[1::2], numbers[2::2]
    is_within = indices.min(initial=1) >= 1 and indices.max(initial=1) <= _NUM_PIXELS
    if label not in range(1, NUM_CLASSES + 1) or not is_within:
        raise ValueError
    image[indices.astype(int) - 1] = values
    return int(label)


def _digits(path: Path, images: Num[np.ndarray, "num pixels"], labels: Num[np.ndarray, " num"]) -> Digits:
    """Check values in [0, 1] and digits, and convert them to bytes and whole numbers."""
    if not 1 <= len(images) <= _MAX_IMAGES:
        raise ValueError(f"{path}: expected 1 to {_MAX_IMAGES} images, got {len(images)}")
    wrong = labels[~np.isin(labels, np.arange(NUM_CLASSES))]
    if len(wrong):
        raise ValueError(f"{path}: expected digits from 0 to 9 as classes, got {wrong[0]}")
    low, high = images.min(), images.max()
    if not (0 <= low <= high <= 1):
        raise ValueError(f"{path}: expected gray values within [0, 1], got values from {low:.3g} to {high:.3g}")
    pixels = np.rint(images * 255).astype(np.uint8)
    return Digits(pixels.reshape(-1, SIZE_PX, SIZE_PX), labels.astype(np.int64))
