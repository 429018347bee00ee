"""Labels beside the points of a plot, placed so that each can be read."""

from collections.abc import Sequence
from itertools import pairwise, product
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes

_FONT_SIZE = 7
_DISTANCES_PT = (5, 9, 14, 20, 28, 38)
"""Distances between a point and its label, in points. At larger ones they would not look related."""
_NUM_DIRECTIONS = 16
_MARGIN_PX = 2.0
"""Margin around each label. It also covers rounding of the text size at other resolutions."""
_STEP_PX = 2.0
"""Spacing of the points that represent a line when labels are placed away from it."""


class PointLabel(NamedTuple):
    """What to write beside a point."""

    text: str
    x: float
    y: float
    color: Any


def label_points(axes: Axes, labels: Sequence[PointLabel]) -> None:
    """Write labels inside the axes so that no two overlap, and so that they cover few lines and markers.

    Call this last: the positions depend on the axis limits and on the layout at the time of the call. A label is left
    out if there is no space for it.
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
        free = [place for place in _places(point, size, axes) if not any(_overlap(place, other) for other in taken)]
        if not free:
            text.remove()
            continue
        place = min(free, key=lambda place: _num_inside(courses, place))  # the first of equals, which is the nearest
        text.xyann = tuple((place.mean(0) - point) / _px_per_pt(axes))
        taken.append(place)


def _places(point: np.ndarray, size: np.ndarray, axes: Axes) -> list[Float[np.ndarray, "2 2"]]:
    """Rectangles around a point that lie inside the axes, nearest first, as lower left and upper right corner."""
    angles = 2 * np.pi * np.arange(_NUM_DIRECTIONS) / _NUM_DIRECTIONS
    places = []
    for distance_pt, angle in product(_DISTANCES_PT, angles):
        direction = np.array([np.cos(angle), np.sin(angle)])
        middle = point + direction * (_px_per_pt(axes) * distance_pt + size / 2)
        half = size / 2 + _MARGIN_PX
        places.append(np.array([middle - half, middle + half]))
    inside = axes.bbox.get_points()
    return [place for place in places if (place[0] >= inside[0]).all() and (place[1] <= inside[1]).all()]


def _courses(axes: Axes) -> Float[np.ndarray, "points 2"]:
    """Closely spaced points along all lines, and the markers, in pixels."""
    points = [np.zeros((0, 2))]
    for line in axes.lines:
        corners = line.get_transform().transform(line.get_xydata())
        corners = corners[np.isfinite(corners).all(1)]
        points.append(corners)
        if line.get_linestyle() != "None":
            for start, end in pairwise(corners):
                num_steps = int(np.linalg.norm(end - start) / _STEP_PX) + 1
                points.append(start + (end - start) * np.linspace(0, 1, num_steps)[:, None])
    return np.concatenate(points)


def _px_per_pt(axes: Axes) -> float:
    return axes.get_figure(root=True).dpi / 72  # pyright: ignore[reportOptionalMemberAccess]


def _num_inside(points: Float[np.ndarray, "points 2"], place: Float[np.ndarray, "2 2"]) -> int:
    return int(((points >= place[0]) & (points <= place[1])).all(1).sum())


def _overlap(one: Float[np.ndarray, "2 2"], other: Float[np.ndarray, "2 2"]) -> bool:
    return bool((one[0] < other[1]).all() and (other[0] < one[1]).all())
