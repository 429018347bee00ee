"""Looks of gray digits: plain, inverted or blurred, in the size and with the channels of MNIST-M."""

from typing import Literal, get_args

import cv2
import numpy as np
from jaxtyping import UInt8

DigitLook = Literal["plain", "inverted", "blurred"]

SIZE_PX = 32
"""Height and width of all images of digits. MNIST's 28 pixels are padded, as in the creation of MNIST-M."""
BLUR_SIGMA_PX = 2.0
"""Standard deviation of the blur of the look ``blurred``. The strokes of a digit are about three pixels wide."""


def check_look(look: str) -> None:
    """Raise a ``ValueError`` for an unknown look."""
    if look not in get_args(DigitLook):
        raise ValueError(f"expected look to be one of {get_args(DigitLook)}, got {look!r}")


def in_look(digits: UInt8[np.ndarray, "num size size"], look: DigitLook) -> UInt8[np.ndarray, "num 32 32 3"]:
    """Pad digits with black on all sides, change their look and repeat the channel.

    Args:
        digits: Gray images, white on black, with an even number of at most 32 pixels a side.
        look: Look of the images.
    """
    margin = (SIZE_PX - digits.shape[1]) // 2
    padded = np.pad(digits, ((0, 0), (margin, margin), (margin, margin)))
    if look == "inverted":
        padded = 255 - padded
    elif look == "blurred":
        padded = np.stack([cv2.GaussianBlur(image, (0, 0), BLUR_SIGMA_PX) for image in padded])
    return np.repeat(padded[..., None], 3, axis=3)
