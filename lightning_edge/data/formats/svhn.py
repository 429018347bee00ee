"""Files of SVHN, the street view house numbers, in the format with cropped digits.

Source: Netzer et al., *Reading Digits in Natural Images with Unsupervised Feature Learning*, 2011. Each file has
``X``, images [32, 32, 3, n] of bytes, and ``y``, their classes [n, 1] from 1 to 10, where 10 is the digit 0.
"""

from pathlib import Path
from typing import Literal

import numpy as np

from lightning_edge.data.formats.mat import read_mat
from lightning_edge.data.labeled_images import LabeledImages

SVHNPart = Literal["train", "test"]
"""Parts of SVHN, as they are named in its files. The additional part ``extra`` is not used."""

NUM_CLASSES = 10
_SIZE_PX = 32
_MAX_BYTES = 2**28
"""Size limit, about a fifth more than the images of the larger part."""
_SOURCE = "http://ufldl.stanford.edu/housenumbers"


def read_svhn(root: Path, part: SVHNPart) -> LabeledImages:
    """Read a part of SVHN.

    Args:
        root: Folder that contains ``train_32x32.mat`` and ``test_32x32.mat``.
        part: Part to read.

    Raises:
        FileNotFoundError: The file is missing.
        ValueError: The file is damaged, or its content is not that of SVHN.
    """
    path = root / f"{part}_32x32.mat"
    arrays = read_mat(path, ("X", "y"), _MAX_BYTES, f"download it from {_SOURCE}")
    images, labels = arrays["X"], arrays["y"].reshape(-1)
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[:3] != (_SIZE_PX, _SIZE_PX, 3):
        raise ValueError(f"{path}: expected X as bytes of shape (32, 32, 3, n), got {images.dtype} {images.shape}")
    if len(labels) != images.shape[3]:
        raise ValueError(f"{path}: expected a class in y for each of {images.shape[3]} images, got {len(labels)}")
    wrong = labels[~np.isin(labels, np.arange(1, NUM_CLASSES + 1))]
    if len(wrong):
        raise ValueError(f"{path}: expected classes from 1 to {NUM_CLASSES} in y, got {wrong[0]}")
    return LabeledImages(np.ascontiguousarray(images.transpose(3, 0, 1, 2)), labels.astype(np.int64) % NUM_CLASSES)
