"""Labels beside points of a plot, each where it can be read."""

from collections.abc import Sequence
from itertools import pairwise, product
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes

_FONT_SIZE = 7
_DISTANCES_PT = (5, 9, 14, 22, 32, 44, 60)
_LEADER_PT = 10
"""Distance of a label from its point beyond which a line leads to it."""
_NUM_DIRECTIONS = 16
_MARGIN_PX = 2.0
"""Around each label, also against what rounding changes at another resolution."""
_STEP_PX = 2.0
"""Between the points by which the course of a line is known."""


class PointLabel(NamedTuple):
    """What to write beside a point."""

    text: str
    x: float
    y: float
    color: Any


def label_points(axes: Axes, labels: Sequence[PointLabel]) -> None:
    """Write labels inside the axes, on no other label and over as little as can be of their lines and markers.

    Call it when all else is drawn, for the labels lie where the limits and the layout of that moment have room. A label
    that finds no room at all is left out.
    """
    axes.get_figure(root=True).draw_without_rendering()  # pyright: ignore[reportOptionalMemberAccess]
    courses = _courses(axes)
    taken: list[np.ndarray] = []
    for label in labels:
        point = axes.transData.transform((label.x, label.y))
        text = axes.annotate(
            label.text, (label.x, label.y), (0, 0), textcoords="offset points", fontsize=_FONT_SIZE, color=label.color
        )
        text.set(ha="center", va="center")
        size = np.array(text.get_window_extent().size)
        places = [place for place in _places(point, size, axes) if not any(_overlap(place, other) for other in taken)]
        text.remove()
        if not places:
            continue
        place = min(places, key=lambda place: _num_inside(courses, place))  # the nearest of those that hide as little
        _annotate(axes, label, place.mean(0) - point)
        taken.append(place)


def _places(point: np.ndarray, size: np.ndarray, axes: Axes) -> list[Float[np.ndarray, "2 2"]]:
    """Rectangles of a size around a point, lower left and upper right corner, the nearest first; all in the axes."""
    angles = 2 * np.pi * np.arange(_NUM_DIRECTIONS) / _NUM_DIRECTIONS
    px_per_pt = axes.get_figure(root=True).dpi / 72  # pyright: ignore[reportOptionalMemberAccess]
    places = []
    for distance_pt, angle in product(_DISTANCES_PT, angles):
        direction = np.array([np.cos(angle), np.sin(angle)])
        middle = point + direction * (px_per_pt * distance_pt + size / 2)
        half = size / 2 + _MARGIN_PX
        places.append(np.array([middle - half, middle + half]))
    inside = axes.bbox.get_points()
    return [place for place in places if (place[0] >= inside[0]).all() and (place[1] <= inside[1]).all()]


def _courses(axes: Axes) -> Float[np.ndarray, "points 2"]:
    """Points along all lines, close to each other, pixels."""
    points = [np.zeros((0, 2))]
    for line in axes.lines:
        corners = line.get_transform().transform(line.get_xydata())
        corners = corners[np.isfinite(corners).all(1)]
        points.append(corners)  # markers
        if line.get_linestyle() != "None":
            for start, end in pairwise(corners):
                num_steps = int(np.linalg.norm(end - start) / _STEP_PX) + 1
                points.append(start + (end - start) * np.linspace(0, 1, num_steps)[:, None])
    return np.concatenate(points)


def _num_inside(points: Float[np.ndarray, "points 2"], place: Float[np.ndarray, "2 2"]) -> int:
    return int(((points >= place[0]) & (points <= place[1])).all(1).sum())


def _overlap(one: Float[np.ndarray, "2 2"], other: Float[np.ndarray, "2 2"]) -> bool:
    return bool((one[0] < other[1]).all() and (other[0] < one[1]).all())


def _annotate(axes: Axes, label: PointLabel, offset_px: Float[np.ndarray, "2"]) -> None:
    offset_pt = offset_px * 72 / axes.get_figure(root=True).dpi  # pyright: ignore[reportOptionalMemberAccess]
    is_far = np.linalg.norm(offset_pt) > _LEADER_PT + 2 * _FONT_SIZE
    leader = {"arrowstyle": "-", "color": label.color, "linewidth": 0.5, "shrinkA": 0, "shrinkB": 2}
    axes.annotate(
        label.text,
        (label.x, label.y),
        tuple(offset_pt),
        textcoords="offset points",
        ha="center",
        va="center",
        fontsize=_FONT_SIZE,
        color=label.color,
        arrowprops=leader if is_far else None,
    )
