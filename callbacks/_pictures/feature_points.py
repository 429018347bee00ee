"""Features in two dimensions, and how they are drawn."""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Float, Int64
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

Projection = Literal["pca", "tsne"]

_MAX_NAMED_CLASSES = 20
_PANEL_INCHES = 4.8
_ENTRY_INCHES, _LETTER_INCHES, _ROW_INCHES = 0.5, 0.07, 0.18
"""Size of an entry of the legend: its symbol, each letter of its name, and its height."""
_GRAY = "#777777"
_MARKERS = {"source": "o", "target": "x"}
_COLORS = (
    *("#332288", "#88CCEE", "#DDCC77", "#CC6677", "#117733", "#882255", "#44AA99", "#999933", "#AA4499"),
    "#000000",
)
"""Colors that differ for color-blind readers too: the scheme "muted" of https://personal.sron.nl/~pault/, and black."""


class FeaturePoints(NamedTuple):
    """Features of source and target after an epoch, in two dimensions that were fitted to both together."""

    epoch: int
    source: Float[np.ndarray, "source 2"]
    target: Float[np.ndarray, "target 2"]
    label: Int64[np.ndarray, " source"]
    prediction: Int64[np.ndarray, " target"]
    """Class that the module predicts for each point of the target."""


def project(features: Float[np.ndarray, "rows features"], projection: Projection) -> Float[np.ndarray, "rows 2"]:
    """Features in two dimensions, always the same for the same features."""
    if features.shape[1] < 2:
        return np.concatenate([features, np.zeros_like(features)], 1)
    if projection == "pca":
        from sklearn.decomposition import PCA  # importing scikit-learn takes a second, so only pictures do

        return PCA(2, svd_solver="full").fit_transform(features)
    from sklearn.manifold import TSNE

    perplexity = min(30.0, (len(features) - 1) / 3)
    return TSNE(2, perplexity=perplexity, init="pca", random_state=0).fit_transform(features).astype(np.float64)


def draw_features(
    panels: Sequence[FeaturePoints], names: Sequence[str], colors: Sequence[Any], color_target: bool
) -> Figure:
    """Draw a panel for each epoch, side by side, with legends of domains and classes below.

    Args:
        panels: Points of one epoch each.
        names: Names of the classes.
        colors: Their colors.
        color_target: Whether points of the target have the color of their predicted class, and not gray.
    """
    width = _PANEL_INCHES * len(panels)
    shown = dict(zip(names, colors, strict=True)) if len(names) <= _MAX_NAMED_CLASSES else {}
    num_columns = max(1, int(width / (_ENTRY_INCHES + _LETTER_INCHES * max(map(len, shown), default=0))))
    height = _PANEL_INCHES + 0.4 + _ROW_INCHES * -(-len(shown) // num_columns)
    figure = Figure(figsize=(width, height), layout="constrained")
    for axes, points in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        _draw_points(axes, points, colors, color_target)
    domains = [Line2D([], [], marker=marker, label=name, color=_GRAY, ls="") for name, marker in _MARKERS.items()]
    figure.legend(handles=domains, loc="outside upper center", ncols=2, fontsize=9, frameon=False)
    classes = [Line2D([], [], marker="s", label=name, color=color, ls="") for name, color in shown.items()]
    if classes:
        place = {"loc": "outside lower center", "ncols": num_columns}
        figure.legend(handles=classes, **place, fontsize=8, frameon=False)
    return figure


def _draw_points(axes: Axes, points: FeaturePoints, colors: Sequence[Any], color_target: bool) -> None:
    of_source = [colors[label] for label in points.label]
    of_target = [colors[label] for label in points.prediction] if color_target else _GRAY
    axes.scatter(*points.source.T, s=14, c=of_source, marker=_MARKERS["source"], linewidths=0, alpha=0.8)
    axes.scatter(*points.target.T, s=14, c=of_target, marker=_MARKERS["target"], linewidths=0.8, alpha=0.8)
    axes.set_title(f"after epoch {points.epoch}", fontsize=9)
    axes.set_xticks([])
    axes.set_yticks([])


def class_colors(palette: Sequence[tuple[int, int, int]]) -> Sequence[Any]:
    """Colors of classes, which differ for color-blind readers if there are few enough classes."""
    if len(palette) <= len(_COLORS):
        return _COLORS[: len(palette)]
    return [tuple(channel / 255 for channel in color) for color in palette]


def table_of(panels: Sequence[FeaturePoints], names: Sequence[str]) -> list[list[Any]]:
    """Rows of epoch, domain, x, y and name of the class."""
    return [
        [points.epoch, domain, *place, names[label]]
        for points in panels
        for domain, places, labels in (
            ("source", points.source, points.label),
            ("target", points.target, points.prediction),
        )
        for place, label in zip(places.tolist(), labels.tolist(), strict=True)
    ]
