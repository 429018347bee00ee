"""Pictures of segmentations and detections as arrays: painted masks, overlays, boxes, tiles, legends.

The functions of ``torchvision.utils`` do less. ``draw_bounding_boxes`` writes each name into the corner of its box, so
that names hide each other and small boxes in a street scene. Here, names look for free places, those of the highest
scores first. ``draw_segmentation_masks`` takes one mask per class, and leaves ignored pixels as they are. For 19
classes on an image of 640 x 360 it took 7 to 18 times as long as :func:`color_mask` and :func:`overlay`, on a busy CPU.
"""

from collections.abc import Sequence
from itertools import product

import cv2
import numpy as np
from jaxtyping import Float, Integer, UInt8

from lightning_edge.contracts import IGNORE_INDEX
from lightning_edge.ops.palettes import Palette
from lightning_edge.ops.palettes import default_palette as default_palette

_Box = Sequence[int]
"""Left, top, right and bottom edges, in pixels."""

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_TEXT_SCALE, _LINE_PX = 0.45, 20
"""Text scale and line height of titles and legends. They grow in pictures wider than ``_USUAL_WIDTH_PX``."""
_USUAL_WIDTH_PX = 1000
_NAME_SCALE, _NAME_MARGIN_PX = 0.4, 2
_DARK, _BRIGHT = 60, 110
"""Brightness, 0 to 255, below which an outline is hard to see in a dark image, and above which text on it is black."""
_RIM = (220, 220, 220)


def color_mask(
    mask: Integer[np.ndarray, "height width"], palette: Palette, ignore_index: int = IGNORE_INDEX
) -> UInt8[np.ndarray, "height width 3"]:
    """Paint each pixel in the color of its class and ignored pixels in black.

    Raises:
        ValueError: The mask has a class without a color.
    """
    is_class = mask != ignore_index
    used = np.unique(mask[is_class])
    if used.size and not 0 <= used[0] <= used[-1] < len(palette):
        raise ValueError(f"expected classes within 0 and {len(palette) - 1}, got {used[0]} to {used[-1]}")
    colors = np.array([*palette, (0, 0, 0)], np.uint8)
    return colors[np.where(is_class, mask, len(palette))]


def overlay(
    image: UInt8[np.ndarray, "height width 3"],
    colors: UInt8[np.ndarray, "height width 3"],
    opacity: float = 0.6,
) -> UInt8[np.ndarray, "height width 3"]:
    """Lay colors over an image; opacity 0 shows the image alone, 1 the colors alone."""
    return np.rint((1 - opacity) * image + opacity * colors).astype(np.uint8)


def draw_boxes(
    image: UInt8[np.ndarray, "height width 3"],
    boxes_xyxy: Float[np.ndarray, "boxes 4"],
    labels: Integer[np.ndarray, " boxes"],
    palette: Palette,
    names: Sequence[str],
    scores: Float[np.ndarray, " boxes"] | None = None,
    thickness: int = 1,
) -> UInt8[np.ndarray, "height width 3"]:
    """Outline boxes in the colors of their classes on a copy of the image, with names and scores as small text.

    Args:
        image: Image to draw on.
        boxes_xyxy: Boxes by pixel edges. Parts outside of the image are drawn at its border.
        labels: Class of each box.
        palette: Colors of the classes.
        names: Names of the classes. Nothing is written for an empty name without scores. A name is left out if every
            position would cover the name of a box with a higher score.
        scores: Scores in [0, 1], if known. The box with the highest score is drawn last, over the others.
        thickness: Thickness of the outlines, in pixels. From 2, outlines in dark colors get a light rim.

    Raises:
        ValueError: The class of a box has no color or no name.
    """
    num_classes = min(len(palette), len(names))
    if labels.size and not 0 <= labels.min() <= labels.max() < num_classes:
        raise ValueError(f"expected labels within 0 and {num_classes - 1}, got {labels.min()} to {labels.max()}")
    drawn = np.ascontiguousarray(image).copy()
    last = np.array(image.shape[1::-1]) - 1
    top_left = np.rint(boxes_xyxy[:, :2]).astype(int).clip(0, last)
    bottom_right = (np.rint(boxes_xyxy[:, 2:]).astype(int) - 1).clip(top_left, last)  # an edge is not a pixel
    order = list(range(len(labels))) if scores is None else np.argsort(scores, kind="stable").tolist()
    outlines: list[_Box] = np.concatenate([top_left, bottom_right + 1], 1).tolist()
    taken: list[_Box] = []
    for index in reversed(order):  # names of boxes with the highest scores are placed first
        name = names[int(labels[index])]
        text = name if scores is None else f"{name} {scores[index]:.2f}".strip()
        place = _place_of_name(drawn, text, outlines[index], taken, outlines) if text else None
        if place is not None:
            _write_name(drawn, text, place, palette[labels[index]])
            taken.append(place)
    for index in order:  # boxes are drawn over the names, which would hide small boxes
        corners, color = (top_left[index].tolist(), bottom_right[index].tolist()), palette[labels[index]]
        if thickness > 1 and _brightness(color) < _DARK:
            cv2.rectangle(drawn, *corners, _RIM, thickness + 2)
        cv2.rectangle(drawn, *corners, color, thickness)
    return drawn


def _brightness(color: tuple[int, int, int]) -> float:
    red, green, blue = color
    return 0.299 * red + 0.587 * green + 0.114 * blue


def _place_of_name(
    image: UInt8[np.ndarray, "height width 3"], text: str, box: _Box, taken: list[_Box], outlines: list[_Box]
) -> _Box | None:
    """Position for a name above its box, below it or in a corner, inside the image and without covering other names.

    Of several positions, the one that the fewest outlines cross is chosen.
    """
    (width, height), _ = cv2.getTextSize(text, _FONT, _NAME_SCALE, 1)
    width, height = width + 2 * _NAME_MARGIN_PX, height + 2 * _NAME_MARGIN_PX
    left, top, right, bottom = box
    places = []
    for y, x in product((top - height, bottom, top, bottom - height), (left, right - width)):
        x = max(0, min(x, image.shape[1] - width))
        place = (x, y, x + width, y + height)
        if 0 <= y <= image.shape[0] - height and not any(_overlap(place, other) for other in taken):
            places.append(place)
    return min(places, key=lambda place: sum(_crosses(outline, place) for outline in outlines), default=None)


def _crosses(outline: _Box, place: _Box) -> bool:
    is_around = outline[0] <= place[0] and outline[1] <= place[1] and outline[2] >= place[2] and outline[3] >= place[3]
    return _overlap(outline, place) and not is_around


def _overlap(one: _Box, other: _Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _write_name(
    image: UInt8[np.ndarray, "height width 3"], text: str, place: _Box, color: tuple[int, int, int]
) -> None:
    """Write a name on a background of the given color."""
    left, top, right, bottom = place
    cv2.rectangle(image, (left, top), (right - 1, bottom - 1), color, cv2.FILLED)
    ink = (0, 0, 0) if _brightness(color) > _BRIGHT else (255, 255, 255)
    at = (left + _NAME_MARGIN_PX, bottom - _NAME_MARGIN_PX - 1)
    cv2.putText(image, text, at, _FONT, _NAME_SCALE, ink, 1, cv2.LINE_AA)


def tile(
    rows: Sequence[Sequence[UInt8[np.ndarray, "_ _ 3"]]], gap_px: int = 4, titles: Sequence[str] = ()
) -> UInt8[np.ndarray, "height width 3"]:
    """Arrange images in a table on white. Each cell is as large as the largest image.

    Args:
        rows: Images of each row.
        gap_px: Space between cells, in pixels.
        titles: Titles of the columns, one for each column.

    Raises:
        ValueError: There is no image, or the number of titles differs from the number of columns.
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
    growth = _growth(width)
    heading = np.full((round(_LINE_PX * growth), width, 3), 255, np.uint8)
    for column, title in enumerate(titles):
        (title_width, _), _ = cv2.getTextSize(title, _FONT, _TEXT_SCALE * growth, 1)
        scale = _TEXT_SCALE * growth * min(1.0, (cell_width - 8) / max(title_width, 1))
        corner = (column * cell_width + 2, len(heading) - round(6 * growth))
        cv2.putText(heading, title, corner, _FONT, scale, (0, 0, 0), 1, cv2.LINE_AA)
    return heading


def with_legend(
    picture: UInt8[np.ndarray, "height width 3"], names: Sequence[str], palette: Palette
) -> UInt8[np.ndarray, "taller wider 3"]:
    """Add a legend below a picture: the color and the name of each class, in columns on white.

    Args:
        picture: Picture. It gets a white margin on the right if it is narrower than a name.
        names: Names of the classes. Without names the picture is returned unchanged.
        palette: Colors of the classes.

    Raises:
        ValueError: The number of names differs from the number of colors.
    """
    if len(names) != len(palette):
        raise ValueError(f"expected one name for each of {len(palette)} colors, got {list(names)}")
    if not names:
        return picture
    height, width = picture.shape[:2]
    growth = _growth(width)
    line_px, gap_px = round(_LINE_PX * growth), round(6 * growth)
    name_px = max(cv2.getTextSize(name, _FONT, _TEXT_SCALE * growth, 1)[0][0] for name in names)
    entry_px = line_px + name_px + 2 * gap_px
    num_columns = max(1, min(width // entry_px, len(names)))
    num_lines = -(-len(names) // num_columns)
    canvas = np.full((height + num_lines * line_px + gap_px, max(width, entry_px), 3), 255, np.uint8)
    canvas[:height, :width] = picture
    for index, (name, color) in enumerate(zip(names, palette, strict=True)):
        line, column = divmod(index, num_columns)
        left, top = column * entry_px + gap_px, height + gap_px + line * line_px
        bottom = top + line_px - gap_px
        cv2.rectangle(canvas, (left, top), (left + line_px - gap_px, bottom - 1), color, cv2.FILLED)
        corner = (left + line_px, bottom - round(2 * growth))
        cv2.putText(canvas, name, corner, _FONT, _TEXT_SCALE * growth, (0, 0, 0), 1, cv2.LINE_AA)
    return canvas


def _growth(width_px: int) -> float:
    """Factor by which text grows so that it stays readable when a wide picture is scaled down to a screen."""
    return max(1.0, width_px / _USUAL_WIDTH_PX)
