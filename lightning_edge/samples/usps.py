"""Sample data in the layout of USPS, as text files of LIBSVM."""

import bz2
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from lightning_edge.checks import check_whole_at_least
from lightning_edge.samples.cache import make_once
from lightning_edge.samples.handwriting import draw_digit

USPS_VERSION = 1
"""Version of the images. It is increased when they change, which invalidates numbers that were measured on them."""
SIZE_PX = 16
NUM_CLASSES = 10
_PARTS = {"usps": 0, "usps.t": 1}


def sample_usps(num_train: int = 2400, num_test: int = 1000, seed: int = 0) -> Path:
    """Folder of a data set in the layout of USPS, in ``usps/``.

    The numbers of images of the classes differ by at most one. As in the real images, each digit fills its image.

    Args:
        num_train: Number of images in the training file.
        num_test: Number of images in the test file.
        seed: Seed of the images.

    Raises:
        ValueError: An argument is out of range.
    """
    check_whole_at_least(NUM_CLASSES, num_train=num_train, num_test=num_test)
    check_whole_at_least(0, seed=seed)
    arguments = {"num_train": num_train, "num_test": num_test, "seed": seed}

    def write(root: Path) -> None:
        (root / "usps").mkdir()
        for (name, part), count in zip(_PARTS.items(), (num_train, num_test), strict=True):
            labels = np.random.default_rng([seed, part]).permutation(np.arange(count) % NUM_CLASSES)
            lines = [_line(int(label), np.random.default_rng([seed, part, k])) for k, label in enumerate(labels)]
            (root / f"usps/{name}.bz2").write_bytes(bz2.compress("".join(lines).encode()))

    return make_once("usps", USPS_VERSION, arguments, write)


def _line(digit: int, rng: np.random.Generator) -> str:
    """The class, which is the digit plus one, and the values in [-1, 1] with their indices from 1."""
    values = _draw(digit, rng).reshape(-1) / 127.5 - 1
    return f"{digit + 1} " + " ".join(f"{index}:{value:.4g}" for index, value in enumerate(values, 1)) + "\n"


def _draw(digit: int, rng: np.random.Generator) -> UInt8[np.ndarray, "16 16"]:
    """A digit whose box is stretched to fill the image, up to twice as wide as it was drawn."""
    image = draw_digit(digit, rng)
    rows, columns = (np.flatnonzero(image.any(axis)) for axis in (1, 0))
    box = image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    width = min(SIZE_PX, round(2 * box.shape[1] * SIZE_PX / box.shape[0]))
    scaled = cv2.resize(box, (width, SIZE_PX), interpolation=cv2.INTER_AREA)
    left = (SIZE_PX - width) // 2
    return np.pad(scaled, ((0, 0), (left, SIZE_PX - width - left)))
