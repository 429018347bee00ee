"""Pictures of segmentations as arrays: colours for classes, overlays, tiles."""

import colorsys
from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import Integer, UInt8

from lightning_edge.contracts import IGNORE_INDEX

Palette = Sequence[tuple[int, int, int]]
"""One RGB colour for each class, 0 to 255."""

_HEADING_PX, _TITLE_SCALE = 20, 0.45


def default_palette(num_classes: int) -> Palette:
    """Bright colours whose neighbours differ: hues a golden section of the circle apart, none of them near black."""
    hues = ((index * 0.618034) % 1.0 for index in range(num_classes))
    colours = (colorsys.hsv_to_rgb(hue, 0.6 + 0.4 * (index % 2), 0.95) for index, hue in enumerate(hues))
    return tuple((round(255 * red), round(255 * green), round(255 * blue)) for red, green, blue in colours)


def colour_mask(
    mask: Integer[np.ndarray, "height width"], palette: Palette, ignore_index: int = IGNORE_INDEX
) -> UInt8[np.ndarray, "height width 3"]:
    """Paint each pixel in the colour of its class and ignored pixels in black.

    Raises:
        ValueError: if the mask has a class without a colour.
    """
    is_class = mask != ignore_index
    used = np.unique(mask[is_class])
    if used.size and not 0 <= used[0] <= used[-1] < len(palette):
        raise ValueError(f"expected classes within 0 and {len(palette) - 1}, got {used[0]} to {used[-1]}")
    colours = np.array([*palette, (0, 0, 0)], np.uint8)
    return colours[np.where(is_class, mask, len(palette))]


def overlay(
    image: UInt8[np.ndarray, "height width 3"],
    colours: UInt8[np.ndarray, "height width 3"],
    opacity: float = 0.6,
) -> UInt8[np.ndarray, "height width 3"]:
    """Lay colours over an image; opacity 0 shows the image alone, 1 the colours alone."""
    return np.rint((1 - opacity) * image + opacity * colours).astype(np.uint8)


def tile(
    rows: Sequence[Sequence[UInt8[np.ndarray, "_ _ 3"]]], gap_px: int = 4, titles: Sequence[str] = ()
) -> UInt8[np.ndarray, "height width 3"]:
    """Set images in a table on white, each at the top left of a cell as large as the largest image.

    Args:
        rows: The images.
        gap_px: Space between cells.
        titles: What to write above the columns, one for each.

    Raises:
        ValueError: if there is no image, or another number of titles than of columns.
    """
    images = [image for row in rows for image in row]
    if not images:
        raise ValueError("expected at least one image in rows, got none")
    cell_height, cell_width = (max(image.shape[axis] for image in images) + gap_px for axis in (0, 1))
    num_columns = max(len(row) for row in rows)
    if titles and len(titles) != num_columns:
        raise ValueError(f"expected {num_columns} titles, got {list(titles)}")
    canvas = np.full((len(rows) * cell_height - gap_px, num_columns * cell_width - gap_px, 3), 255, np.uint8)
    for row_index, row in enumerate(rows):
        for column, image in enumerate(row):
            top, left = row_index * cell_height, column * cell_width
            canvas[top : top + image.shape[0], left : left + image.shape[1]] = image
    return np.concatenate([_heading(titles, cell_width, canvas.shape[1]), canvas]) if titles else canvas


def _heading(titles: Sequence[str], cell_width: int, width: int) -> UInt8[np.ndarray, "height width 3"]:
    heading = np.full((_HEADING_PX, width, 3), 255, np.uint8)
    for column, title in enumerate(titles):
        (title_width, _), _ = cv2.getTextSize(title, cv2.FONT_HERSHEY_SIMPLEX, _TITLE_SCALE, 1)
        scale = _TITLE_SCALE * min(1.0, (cell_width - 8) / max(title_width, 1))
        corner = (column * cell_width + 2, _HEADING_PX - 6)
        cv2.putText(heading, title, corner, cv2.FONT_HERSHEY_SIMPLEX, scale, (0, 0, 0), 1, cv2.LINE_AA)
    return heading
