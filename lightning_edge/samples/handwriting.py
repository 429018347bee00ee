"""Generated handwritten digits: 28x28 pixels, white on black, with the size and position of MNIST's digits.

The strokes are defined here, because the fonts of OpenCV differ between its versions. Slant, rotation, proportions,
bend and pen width are random. They vary so much that a linear model that learns a thousand digits recognizes about four
of five others, as with MNIST. Some digits are written in two ways.
"""

import cv2
import numpy as np
from jaxtyping import Float, UInt8

SIZE_PX = 28
_BOX_PX = 20
"""Each digit is scaled to fit, as MNIST's were (LeCun et al., 1998)."""
_OVERSAMPLING = 4
_FIXED_POINT_BITS = 4
"""Points are drawn to a sixteenth of a pixel."""

_Stroke = Float[np.ndarray, "_ 2"]
"""Points (x, y) about the origin, y downwards from -1 to 1."""


def _line(*points: tuple[float, float]) -> _Stroke:
    """A polyline through the given points, with additional points between them, so that it can be bent."""
    corners = np.array(points, float)
    steps = np.linspace(0, len(points) - 1, 8 * (len(points) - 1) + 1)
    return np.stack([np.interp(steps, np.arange(len(points)), axis) for axis in corners.T], 1)


def _arc(center: tuple[float, float], radius: tuple[float, float], begin_deg: float, end_deg: float) -> _Stroke:
    """Part of an ellipse; 0 is at its right, and 90 at its bottom."""
    angle = np.radians(np.linspace(begin_deg, end_deg, 30))
    return np.stack([center[0] + radius[0] * np.cos(angle), center[1] + radius[1] * np.sin(angle)], 1)


_WAYS: tuple[tuple[list[_Stroke], ...], ...] = (
    ([_arc((0, 0), (0.6, 1), -80, 280)],),
    ([_line((0, -1), (0, 1))], [_line((-0.35, -0.55), (0, -1), (0, 1))]),
    ([_arc((0, -0.45), (0.55, 0.55), 190, 390), _line((0.48, -0.18), (-0.6, 1), (0.65, 1))],),
    ([_arc((0, -0.5), (0.5, 0.5), 200, 450), _arc((0, 0.5), (0.58, 0.5), 270, 510)],),
    (
        [_line((-0.4, -0.9), (-0.6, 0.2), (0.65, 0.2)), _line((0.3, -0.6), (0.25, 1))],
        [_line((0.65, 0.3), (-0.6, 0.3), (0.25, -1), (0.25, 1))],
    ),
    ([_line((0.55, -1), (-0.4, -1), (-0.45, -0.07)), _arc((0, 0.35), (0.58, 0.65), 220, 500)],),
    ([_arc((0.4, 0.4), (0.95, 1.4), 275, 180), _arc((0, 0.45), (0.55, 0.55), 0, 360)],),
    (
        [_line((-0.55, -1), (0.55, -1), (-0.1, 1))],
        [_line((-0.55, -1), (0.55, -1), (-0.1, 1)), _line((-0.35, 0.05), (0.5, 0.05))],
    ),
    ([_arc((0, -0.5), (0.45, 0.5), -90, 270), _arc((0, 0.5), (0.55, 0.5), -90, 270)],),
    ([_arc((0, -0.45), (0.5, 0.55), 0, 360), _arc((-0.4, -0.4), (0.9, 1.4), 0, 85)],),
)
"""Ways to write each digit."""


def draw_digit(digit: int, rng: np.random.Generator) -> UInt8[np.ndarray, f"{SIZE_PX} {SIZE_PX}"]:
    """One image of a digit.

    Args:
        digit: Digit from 0 to 9.
        rng: Random generator of everything else.
    """
    ways = _WAYS[digit]
    width_px = rng.uniform(1.6, 3.6)
    strokes = _placed(_bent(ways[rng.integers(len(ways))], rng), _BOX_PX - width_px)
    canvas = np.zeros((SIZE_PX * _OVERSAMPLING,) * 2, np.uint8)
    points = [np.rint(stroke * _OVERSAMPLING * 2**_FIXED_POINT_BITS).astype(np.int32) for stroke in strokes]
    cv2.polylines(canvas, points, False, 255, round(width_px * _OVERSAMPLING), cv2.LINE_8, _FIXED_POINT_BITS)
    return cv2.resize(canvas, (SIZE_PX, SIZE_PX), interpolation=cv2.INTER_AREA)


def _bent(strokes: list[_Stroke], rng: np.random.Generator) -> list[_Stroke]:
    """Randomly distorted strokes. Connected strokes stay connected."""
    angle = rng.uniform(-0.33, 0.33)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    slant = np.array([[rng.uniform(0.55, 1.25), 0], [rng.uniform(-0.65, 0.35), 1]])
    bend = rng.uniform(-0.34, 0.34, (3, 2))
    return [(stroke + _second_order(stroke) @ bend) @ slant @ turn for stroke in strokes]


def _second_order(stroke: _Stroke) -> Float[np.ndarray, "_ 3"]:
    x, y = stroke.T
    return np.stack([x * y, x**2, y**2], 1)


def _placed(strokes: list[_Stroke], box_px: float) -> list[_Stroke]:
    """Strokes scaled to a box around the center of the image, in pixels."""
    points = np.concatenate(strokes)
    low, high = points.min(0), points.max(0)
    scale = box_px / (high - low).max()
    return [(stroke - (low + high) / 2) * scale + SIZE_PX / 2 for stroke in strokes]
