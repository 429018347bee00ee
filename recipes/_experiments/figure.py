"""Accuracies of several classifiers as a picture, a row for each."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

_ROW_INCHES = 0.32


def draw_comparison(accuracies: Mapping[str, Sequence[float]], what: str = "accuracy") -> Figure:
    """A row for each classifier, from above: a dot for each seed, and a bar where their mean is.

    Args:
        accuracies: Of each classifier, by the label of its row, percent.
        what: They are.
    """
    figure = Figure(figsize=(7, 1 + _ROW_INCHES * len(accuracies)), layout="constrained")
    axes = figure.add_subplot()
    for row, found in enumerate(accuracies.values()):
        axes.plot(found, [row] * len(found), "o", color="tab:blue", alpha=0.5, markersize=6)
        axes.plot([sum(found) / len(found)] * 2, [row - 0.3, row + 0.3], color="black", linewidth=2)
    axes.set_yticks(range(len(accuracies)), list(accuracies))
    axes.invert_yaxis()
    axes.set_xlabel(f"{what}, percent (dots: seeds, bars: means)")
    axes.grid(axis="x", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    return figure
