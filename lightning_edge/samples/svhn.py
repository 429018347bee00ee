"""Sample data in the layout of SVHN: house numbers in color, with parts of other digits at the sides."""

import io
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from scipy.io import savemat

from lightning_edge.checks import check_whole_at_least
from lightning_edge.samples.cache import make_once
from lightning_edge.samples.handwriting import draw_digit

SVHN_VERSION = 1
"""Version of the images. It is increased when they change, which invalidates numbers that were measured on them."""
SIZE_PX = 32
NUM_CLASSES = 10
_PARTS = {"train": 0, "test": 1}
_HEADER = b"MATLAB 5.0 MAT-file, generated sample data".ljust(116)
"""Text at the start of the files. That of scipy contains the time."""
_DISTANCE_PX = 21
"""Distance between the centers of two digits of a number."""


def sample_svhn(num_train: int = 2400, num_test: int = 1000, seed: int = 0) -> Path:
    """Folder of a data set in the layout of SVHN's cropped digits, in ``svhn/``.

    The numbers of images of the classes differ by at most one.

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
        (root / "svhn").mkdir()
        for (name, part), count in zip(_PARTS.items(), (num_train, num_test), strict=True):
            labels = np.random.default_rng([seed, part]).permutation(np.arange(count) % NUM_CLASSES)
            images = [_draw(int(label), np.random.default_rng([seed, part, k])) for k, label in enumerate(labels)]
            _write(root / f"svhn/{name}_32x32.mat", np.stack(images, 3), np.where(labels == 0, 10, labels))

    return make_once("svhn", SVHN_VERSION, arguments, write)


def _write(path: Path, images: UInt8[np.ndarray, "32 32 3 num"], labels: np.ndarray) -> None:
    file = io.BytesIO()
    savemat(file, {"X": images, "y": labels.astype(np.uint8)[:, None]}, do_compression=True)
    path.write_bytes(_HEADER + file.getvalue()[len(_HEADER) :])


def _draw(digit: int, rng: np.random.Generator) -> UInt8[np.ndarray, "32 32 3"]:
    """A digit among neighbors, in one color on another, blurred and with noise."""
    ink = np.zeros((SIZE_PX, SIZE_PX), np.float32)
    for place in (-1, 0, 1):
        if place != 0 and rng.random() < 0.5:
            continue
        shown = digit if place == 0 else int(rng.integers(NUM_CLASSES))
        ink = np.maximum(ink, _shifted(_bold_digit(shown, rng), place * _DISTANCE_PX + rng.uniform(-1, 1)))
    background, color = _two_colors(rng)
    light = 1 + rng.uniform(-0.2, 0.2) * np.linspace(-1, 1, SIZE_PX)[:, None, None]
    image = (background + ink[..., None] * (color - background)) * light
    image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.2)) + rng.normal(0, rng.uniform(1, 6), image.shape)
    return np.rint(np.clip(image, 0, 255)).astype(np.uint8)


def _bold_digit(digit: int, rng: np.random.Generator) -> Float[np.ndarray, "32 32"]:
    """A digit that is as high as the digits of SVHN, with strokes of printed width, in [0, 1]."""
    image = cv2.dilate(draw_digit(digit, rng), np.ones((2, 2), np.uint8))
    scale = rng.uniform(1.1, 1.5)
    center = image.shape[0] / 2
    matrix = np.array([[scale, 0, SIZE_PX / 2 - scale * center], [0, scale, SIZE_PX / 2 - scale * center]])
    return cv2.warpAffine(image, matrix, (SIZE_PX, SIZE_PX)).astype(np.float32) / 255


def _shifted(image: Float[np.ndarray, "32 32"], by_px: float) -> Float[np.ndarray, "32 32"]:
    return cv2.warpAffine(image, np.array([[1, 0, by_px], [0, 1, 0]]), (SIZE_PX, SIZE_PX))


def _two_colors(rng: np.random.Generator) -> tuple[Float[np.ndarray, " 3"], Float[np.ndarray, " 3"]]:
    """Colors of wall and digit, whose brightness differs by 40 to 130 of 255. Either may be the brighter one."""
    difference = rng.uniform(40, 130)
    middle = rng.uniform(difference / 2 + 10, 245 - difference / 2)
    signs = rng.permutation([-0.5, 0.5])
    wall, digit = (middle + sign * difference + rng.normal(0, 18, 3) for sign in signs)
    return wall, digit
