"""Image corruptions with five severities, similar to CIFAR-10-C (Hendrycks and Dietterich, arXiv:1903.12261).

The severities are those of its code, https://github.com/hendrycks/robustness, ``make_cifar_c.py``, except for ``dark``,
which it does not have. That code truncates values to bytes; here they are rounded.
"""

from collections.abc import Callable

import cv2
import numpy as np
from jaxtyping import Float32

from lightning_edge.data.images.files import RgbImage

NUM_SEVERITIES = 5

_NOISE_STD = (0.04, 0.06, 0.08, 0.09, 0.10)
_BLUR_SIGMA_PX = (0.4, 0.6, 0.7, 0.8, 1.0)
_CONTRAST = (0.75, 0.5, 0.4, 0.3, 0.15)
_LIGHT = (0.6, 0.5, 0.4, 0.3, 0.2)
_RESOLUTION = (0.95, 0.9, 0.85, 0.75, 0.65)


def corrupt(image: RgbImage, corruption: str, severity: int, rng: np.random.Generator) -> RgbImage:
    """Corrupt an image.

    Args:
        image: Image, which is not changed.
        corruption: One of ``CORRUPTIONS``.
        severity: Severity from 1 to 5.
        rng: Random generator of the noise.

    Raises:
        ValueError: The corruption or the severity does not exist.
    """
    check_corruption(corruption, severity)
    return _CORRUPT[corruption](image, severity - 1, rng)


def check_corruption(corruption: str, severity: int) -> None:
    """Raise a ``ValueError`` if the corruption or the severity does not exist."""
    if corruption not in _CORRUPT:
        raise ValueError(f"expected corruptions among {list(CORRUPTIONS)}, got {corruption!r}")
    if not 1 <= severity <= NUM_SEVERITIES:
        raise ValueError(f"expected severity within [1, {NUM_SEVERITIES}], got {severity}")


def _keep(image: RgbImage, degree: int, rng: np.random.Generator) -> RgbImage:
    return image.copy()


def _add_noise(image: RgbImage, degree: int, rng: np.random.Generator) -> RgbImage:
    return _to_bytes(image + 255 * _NOISE_STD[degree] * rng.standard_normal(image.shape, np.float32))


def _blur(image: RgbImage, degree: int, rng: np.random.Generator) -> RgbImage:
    sigma_px = _BLUR_SIGMA_PX[degree]
    return _to_bytes(cv2.GaussianBlur(image.astype(np.float32), (0, 0), sigma_px, borderType=cv2.BORDER_REPLICATE))


def _lower_contrast(image: RgbImage, degree: int, rng: np.random.Generator) -> RgbImage:
    mean = image.mean((0, 1), dtype=np.float32)
    return _to_bytes(mean + _CONTRAST[degree] * (image - mean))


def _darken(image: RgbImage, degree: int, rng: np.random.Generator) -> RgbImage:
    return _to_bytes(np.float32(_LIGHT[degree]) * image)


def _pixelate(image: RgbImage, degree: int, rng: np.random.Generator) -> RgbImage:
    rows, columns = (_average_in_blocks(size, int(size * _RESOLUTION[degree])) for size in image.shape[:2])
    return _to_bytes(np.tensordot(rows, columns @ image, 1))


def _average_in_blocks(size: int, num_blocks: int) -> Float32[np.ndarray, "size size"]:
    """Matrix that replaces each pixel of a line by the mean of its block, which has one or two pixels."""
    block = ((np.arange(size) + 0.5) * num_blocks / size).astype(int)
    is_same = (block[:, None] == block).astype(np.float32)
    return is_same / is_same.sum(1, keepdims=True)


def _to_bytes(image: np.ndarray) -> RgbImage:
    return np.rint(np.clip(image, 0, 255)).astype(np.uint8)


_CORRUPT: dict[str, Callable[[RgbImage, int, np.random.Generator], RgbImage]] = {
    "none": _keep,
    "noise": _add_noise,
    "blur": _blur,
    "contrast": _lower_contrast,
    "dark": _darken,
    "pixelate": _pixelate,
}
CORRUPTIONS = tuple(_CORRUPT)
"""Names of all corruptions. The first one leaves images unchanged."""
