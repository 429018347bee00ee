"""Small images of one object each. Its outline is the class; with a hundred classes, outline and pattern are.

Color, pattern, position, size, slant and rotation are random for every class. Neither a single pixel nor the area is
enough to distinguish outlines: with ten classes a linear model has an accuracy of about one third. The background has
one color or a gradient to another, because a net does not learn from a few thousand images to find an outline on a
pattern.
"""

from collections.abc import Callable

import cv2
import numpy as np
from jaxtyping import Float, UInt8

SIZE_PX = 32
_OVERSAMPLING = 3
_GRID_PX = SIZE_PX * _OVERSAMPLING
_FIXED_POINT_BITS = 4
"""Corners are drawn to a sixteenth of a pixel."""

_Outline = list[np.ndarray]
"""Polygons in a square from -1 to 1; where they overlap, they cancel."""
_Coordinates = Float[np.ndarray, "height width"]


def _circle(radius: float, center: tuple[float, float] = (0.0, 0.0)) -> np.ndarray:
    angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    return np.stack([center[0] + radius * np.cos(angle), center[1] + radius * np.sin(angle)], 1)


def _crescent() -> np.ndarray:
    outer, inner = np.linspace(0.6, 2 * np.pi - 0.6, 24), np.linspace(2 * np.pi - 0.85, 0.85, 24)
    arcs = [np.cos(outer), 0.35 + 0.72 * np.cos(inner)], [np.sin(outer), 0.75 * np.sin(inner)]
    return np.stack([np.concatenate(axis) for axis in arcs], 1)


def _star() -> np.ndarray:
    angle = np.arange(10) * np.pi / 5
    radius = np.where(np.arange(10) % 2, 0.42, 1.1)
    return np.stack([radius * np.sin(angle), -radius * np.cos(angle)], 1)


def _cross(half: float = 0.32) -> np.ndarray:
    arm = np.array([(half, -1), (half, -half), (1, -half)])
    return np.concatenate([arm @ np.array([[c, s], [-s, c]]) for c, s in ((1, 0), (0, 1), (-1, 0), (0, -1))])


def _polygon(*corners: tuple[float, float]) -> np.ndarray:
    return np.array(corners)


_OUTLINES: dict[str, _Outline] = {
    "disc": [_circle(0.85)],
    "ring": [_circle(0.95), _circle(0.5)],
    "square": [_polygon((-0.75, -0.75), (0.75, -0.75), (0.75, 0.75), (-0.75, 0.75))],
    "triangle": [_polygon((0, -1), (0.95, 0.7), (-0.95, 0.7))],
    "star": [_star()],
    "cross": [_cross()],
    "crescent": [_crescent()],
    "arrow": [_polygon((0, -1), (0.85, 0), (0.32, 0), (0.32, 1), (-0.32, 1), (-0.32, 0), (-0.85, 0))],
    "angle": [_polygon((-0.85, -1), (-0.25, -1), (-0.25, 0.4), (0.9, 0.4), (0.9, 1), (-0.85, 1))],
    "hourglass": [_polygon((-0.8, -1), (0.8, -1), (0.12, 0), (0.8, 1), (-0.8, 1), (-0.12, 0))],
}

_PATTERNS: dict[str, Callable[[_Coordinates, _Coordinates], _Coordinates]] = {
    "plain": lambda x, y: 0 * x,
    "striped": lambda x, y: (x % 1 < 0.5) * 1.0,
    "chequered": lambda x, y: ((x % 1 < 0.5) ^ (y % 1 < 0.5)) * 1.0,
    "dotted": lambda x, y: (np.hypot(x % 1 - 0.5, y % 1 - 0.5) < 0.33) * 1.0,
    "latticed": lambda x, y: ((x % 1 < 0.25) | (y % 1 < 0.25)) * 1.0,
    "shaded": lambda x, y: 0.5 + 0.5 * np.sin(x),
    "wavy": lambda x, y: ((x + 0.3 * np.sin(2 * np.pi * y / 1.5)) % 1 < 0.5) * 1.0,
    "ringed": lambda x, y: (np.hypot(x, y) % 1 < 0.5) * 1.0,
    "bricked": lambda x, y: ((y % 1 < 0.2) | ((x / 2 + 0.5 * (y % 2 < 1)) % 1 < 0.1)) * 1.0,
    "blotched": lambda x, y: (np.sin(4 * x + 2 * np.sin(3 * y)) + np.sin(5 * y + 2 * np.cos(3 * x)) > 0) * 1.0,
}

OUTLINE_NAMES = tuple(_OUTLINES)
PATTERN_NAMES = tuple(_PATTERNS)
_BACKGROUNDS = ("plain", "shaded")


def draw_shape(
    outline: str, pattern: str | None, rng: np.random.Generator
) -> UInt8[np.ndarray, f"{SIZE_PX} {SIZE_PX} 3"]:
    """One picture of 32x32 pixels, RGB.

    Args:
        outline: One of ``OUTLINE_NAMES``.
        pattern: One of ``PATTERN_NAMES``; a random one if ``None``.
        rng: Random generator of everything else.
    """
    ground, thing = _colors(rng)
    behind = _paint(str(rng.choice(_BACKGROUNDS)), ground, rng)
    before = _paint(pattern or str(rng.choice(PATTERN_NAMES)), thing, rng)
    mask = _mask(_OUTLINES[outline], rng)[..., None]
    image = mask * before + (1 - mask) * behind
    _cross_out(image, rng)
    image = cv2.resize(image, (SIZE_PX, SIZE_PX), interpolation=cv2.INTER_AREA)
    return np.rint(np.clip(_photograph(image, rng), 0, 255)).astype(np.uint8)


def _colors(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Two colors of the background and two of the object, which is brighter in most images."""
    sign = 1 if rng.random() < 0.85 else -1
    while True:
        colors = rng.uniform(10, 245, (2, 2, 3))
        colors[:, 1] = colors[:, 0] + rng.uniform(0.35, 0.8) * (colors[:, 1] - colors[:, 0])
        ground, thing = colors
        if sign * (thing.mean() - ground.mean()) > 50:
            return ground, thing


def _paint(pattern: str, colors: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    period, angle = rng.uniform(5, 10) * _OVERSAMPLING, rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[:_GRID_PX, :_GRID_PX] / period
    x, y = x * np.cos(angle) - y * np.sin(angle), x * np.sin(angle) + y * np.cos(angle)
    share = _PATTERNS[pattern](x + rng.uniform(-3, 3), y + rng.uniform(-3, 3))[..., None]
    return ((1 - share) * colors[0] + share * colors[1]).astype(np.float32)


def _mask(outline: _Outline, rng: np.random.Generator) -> np.ndarray:
    """Mask of the object: 0 or 1 for each point of the grid."""
    angle, radius = rng.uniform(-0.5, 0.5), rng.uniform(8, 13) * _OVERSAMPLING
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    slant = np.array([[1, rng.uniform(-0.35, 0.35)], [0, rng.uniform(0.7, 1.0)]])
    center = _GRID_PX / 2 + rng.uniform(-4, 4, 2) * _OVERSAMPLING
    corners = [(center + radius * polygon @ slant @ turn) * 2**_FIXED_POINT_BITS for polygon in outline]
    mask = np.zeros((_GRID_PX, _GRID_PX), np.uint8)
    cv2.fillPoly(mask, [np.rint(polygon).astype(np.int32) for polygon in corners], 1, shift=_FIXED_POINT_BITS)
    return mask.astype(np.float32)


def _cross_out(image: np.ndarray, rng: np.random.Generator) -> None:
    """Draw a line over half of the images."""
    for _ in range(rng.integers(2)):
        (x0, y0), (x1, y1) = rng.integers(0, _GRID_PX, (2, 2)).tolist()
        color = rng.uniform(0, 255, 3).tolist()
        cv2.line(image, (x0, y0), (x1, y1), color, int(rng.integers(1, 3)) * _OVERSAMPLING)


def _photograph(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Uneven light, blur and noise."""
    slope_y, slope_x = rng.uniform(-0.25, 0.25, 2)
    position = np.linspace(-1, 1, SIZE_PX, dtype=np.float32)
    light = rng.uniform(0.75, 1.1) + slope_y * position[:, None] + slope_x * position
    image = cv2.GaussianBlur(image, (3, 3), rng.uniform(0.2, 0.8)) * light[..., None].astype(np.float32)
    return image + rng.normal(0, rng.uniform(2, 10), image.shape)
