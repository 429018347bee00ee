"""Pictures of segmentations and detections as arrays: colours for classes, overlays, boxes, tiles."""

import colorsys
from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import Float, Integer, UInt8

from lightning_edge.contracts import IGNORE_INDEX

Palette = Sequence[tuple[int, int, int]]
"""One RGB colour for each class, 0 to 255."""

_HEADING_PX, _TITLE_SCALE = 20, 0.45
_NAME_SCALE, _NAME_MARGIN_PX = 0.4, 2


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


def draw_boxes(
    image: UInt8[np.ndarray, "height width 3"],
    boxes_xyxy: Float[np.ndarray, "boxes 4"],
    labels: Integer[np.ndarray, " boxes"],
    palette: Palette,
    names: Sequence[str],
    scores: Float[np.ndarray, " boxes"] | None = None,
    thickness: int = 1,
) -> UInt8[np.ndarray, "height width 3"]:
    """Outline boxes in the colours of their classes on a copy of the image, with names and scores as small text.

    Args:
        image: What to draw on.
        boxes_xyxy: Pixel edges; what lies outside the image is drawn at its border.
        labels: Class of each box.
        palette: Colours of the classes.
        names: Names of the classes; nothing is written for an empty one without scores.
        scores: In [0, 1], where known; the surest box is drawn last, over the others.
        thickness: Of the outlines, pixels.

    Raises:
        ValueError: if a box is of a class without colour or name.
    """
    num_classes = min(len(palette), len(names))
    if labels.size and not 0 <= labels.min() <= labels.max() < num_classes:
        raise ValueError(f"expected labels within 0 and {num_classes - 1}, got {labels.min()} to {labels.max()}")
    drawn = np.ascontiguousarray(image).copy()
    last = np.array(image.shape[1::-1]) - 1
    top_left = np.rint(boxes_xyxy[:, :2]).astype(int).clip(0, last)
    bottom_right = (np.rint(boxes_xyxy[:, 2:]).astype(int) - 1).clip(top_left, last)  # an edge is not a pixel
    order = range(len(labels)) if scores is None else np.argsort(scores, kind="stable").tolist()
    for index in order:
        name = names[int(labels[index])]
        text = name if scores is None else f"{name} {scores[index]:.2f}".strip()
        if text:
            _write_name(drawn, text, top_left[index].tolist(), palette[labels[index]])
    for index in order:  # over all names, which would hide small boxes
        colour = palette[labels[index]]
        cv2.rectangle(drawn, top_left[index].tolist(), bottom_right[index].tolist(), colour, thickness)
    return drawn


def _write_name(
    image: UInt8[np.ndarray, "height width 3"], text: str, corner: Sequence[int], colour: Sequence[int]
) -> None:
    """Write on a ground of the colour, above the corner where there is room and below it elsewhere."""
    (width, height), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, _NAME_SCALE, 1)
    width, height = width + 2 * _NAME_MARGIN_PX, height + 2 * _NAME_MARGIN_PX
    left = max(0, min(corner[0], image.shape[1] - width))
    top = corner[1] - height if corner[1] >= height else corner[1]
    cv2.rectangle(image, (left, top), (left + width - 1, top + height - 1), colour, cv2.FILLED)
    ink = (0, 0, 0) if sum(colour) > 300 else (255, 255, 255)
    at = (left + _NAME_MARGIN_PX, top + height - _NAME_MARGIN_PX - 1)
    cv2.putText(image, text, at, cv2.FONT_HERSHEY_SIMPLEX, _NAME_SCALE, ink, 1, cv2.LINE_AA)


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
