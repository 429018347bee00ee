"""Figure of the accuracies of several classifiers."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

_ROW_INCHES = 0.32
_MIN_RANGE = 10.0
"""Smallest range of the axis in percentage points. A tighter one would make differences of chance look large."""


def draw_comparison(accuracies: Mapping[str, Sequence[float]], metric: str = "accuracy") -> Figure:
    """Draw a row for each classifier, from top to bottom: a dot for each seed, and a bar at their mean.

    Args:
        accuracies: Accuracies of each classifier in percent, by the label of its row.
        metric: Name of the score, for the label of the axis.
    """
    figure = Figure(figsize=(7, 1 + _ROW_INCHES * len(accuracies)), layout="constrained")
    axes = figure.add_subplot()
    for row, values in enumerate(accuracies.values()):
        axes.plot(values, [row] * len(values), "o", color="tab:blue", alpha=0.5, markersize=6)
        axes.plot([sum(values) / len(values)] * 2, [row - 0.3, row + 0.3], color="black", linewidth=2)
    low, high = axes.get_xlim()
    if high - low < _MIN_RANGE:
        low = min(max((low + high - _MIN_RANGE) / 2, 0), 100 - _MIN_RANGE)
        axes.set_xlim(low, low + _MIN_RANGE)
    axes.set_yticks(range(len(accuracies)), list(accuracies))
    axes.invert_yaxis()
    axes.set_xlabel(f"{metric}, percent (dots: seeds, bars: means)")
    axes.grid(axis="x", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    return figure
