"""Scaling of images to a fixed size without changing their proportions.

``LongestMaxSize`` and ``PadIfNeeded`` of albumentations give the same pixels, but scale boxes by the rounded sides,
which moves an edge by up to half a pixel. Evaluation needs one scale, by which predictions return to the image.
"""

from typing import NamedTuple

import cv2
import numpy as np

from lightning_edge.data.images.files import RgbImage

PADDING = 114
"""Gray level of the padding, near the mean of street scenes. Black would look like night."""


class Letterboxed(NamedTuple):
    """An image in the upper left of a padded frame, and its scale."""

    image: RgbImage
    scale: float
    """Pixels of the frame for each pixel of the image."""


def letterbox(image: RgbImage, size: tuple[int, int]) -> Letterboxed:
    """Scale an image to fit into a frame, and pad it at the right and at the bottom.

    Sides are rounded to whole pixels, so a point at x in the image is within half a pixel of ``scale * x``.

    Args:
        image: Image of any size.
        size: Height and width of the frame, in pixels.
    """
    height, width = image.shape[:2]
    scale = min(size[0] / height, size[1] / width)
    rows, columns = (max(1, round(side * scale)) for side in (height, width))
    # area means, because a distant light must not be lost between sampled pixels
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    framed = np.full((*size, 3), PADDING, np.uint8)
    framed[:rows, :columns] = cv2.resize(image, (columns, rows), interpolation=interpolation)
    return Letterboxed(framed, scale)
