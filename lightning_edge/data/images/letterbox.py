"""Images of any size brought to one size without a change of their proportions."""

from typing import NamedTuple

import cv2
import numpy as np

from lightning_edge.data.images.files import RgbImage

PADDING = 114
"""Gray level beside an image, near the mean of street scenes; black would look like night."""


class Letterboxed(NamedTuple):
    """An image at the upper left of a frame, and how it came there."""

    image: RgbImage
    scale: float
    """Pixels of the frame for each pixel of the image."""


def letterbox(image: RgbImage, size: tuple[int, int]) -> Letterboxed:
    """Scale an image until it just fits and pad it at the right and at the bottom.

    Sides are rounded to whole pixels, so that what is at x in the image is within half a pixel of ``scale * x``.

    Args:
        image: Of any size.
        size: Height and width of the frame, pixels.
    """
    height, width = image.shape[:2]
    scale = min(size[0] / height, size[1] / width)
    rows, columns = (max(1, round(side * scale)) for side in (height, width))
    # means of areas, for a far light must not fall between the pixels that are kept
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    framed = np.full((*size, 3), PADDING, np.uint8)
    framed[:rows, :columns] = cv2.resize(image, (columns, rows), interpolation=interpolation)
    return Letterboxed(framed, scale)
