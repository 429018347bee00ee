"""Figure of a sweep."""

import math
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from lightning_edge.analysis.scaling_curve import ScalingCurve
from recipes.batch_size_scaling._results import SweepResults

_MARKS = ("o", "s", "D", "v", "P", "X")
_STYLES = ("-", "-", "-", (0, (4, 2)), "-", "-")
"""The fourth rule, ``tuned``, covers one of the first three at each size. Its dashes let that one show through."""


def draw_results(results: SweepResults) -> Figure:
    """Draw steps, cost, contours over targets, time, linear error, and either shares of the data or the noise scale."""
    figure = Figure(figsize=(14, 7.6), layout="constrained")
    axes = figure.subplots(2, 3).flatten()
    goal = f"a {results.plan.split} loss of {results.target:.3g}"
    figure.suptitle(f"Batch sizes to {goal}")
    _draw_steps(axes[0], results)
    _draw_cost(axes[1], results)
    _draw_contours(axes[2], results)
    _draw_seconds(axes[3], results)
    _draw_linear_error(axes[4], results)
    if len(results.curves) > 1:
        _draw_fractions(axes[5], results)
    else:
        _draw_noise(axes[5], results)
    for axis in axes:
        axis.grid(alpha=0.3, which="both")
        axis.spines[["top", "right"]].set_visible(False)
        own = [line for line in axis.lines if line.get_label() not in results.whole and _is_named(line)]
        if own:
            axis.legend(handles=own, fontsize=7)
    figure.legend(handles=_shared_entries(results), loc="outside lower center", ncols=9, fontsize=8, frameon=False)
    figure.draw_without_rendering()  # computes the layout
    for axis in axes:
        _hide_crowded_sizes(axis)
    return figure


def _is_named(line: Line2D) -> bool:
    return not str(line.get_label()).startswith("_")


def _shared_entries(results: SweepResults) -> list[Any]:
    """Entries of the legend that all plots share."""
    rules = [Line2D([], [], label=rule, **_style(index)) for index, rule in enumerate(results.whole)]
    return [
        *rules,
        Line2D([], [], color="gray", linestyle=":", linewidth=1, label="fit"),
        Line2D([], [], color="gray", linestyle="", marker="^", fillstyle="none", label="not reached"),
        Patch(color="gray", alpha=0.15, linewidth=0, label="95 % interval"),
    ]


def _style(index: int) -> dict[str, Any]:
    mark, line = _MARKS[index % len(_MARKS)], _STYLES[index % len(_STYLES)]
    return {"marker": mark, "linestyle": line, "color": f"C{index}", "markersize": 4}


def _draw_steps(axis: Any, results: SweepResults) -> None:
    for index, (rule, curve) in enumerate(results.whole.items()):
        _draw_curve(axis, curve, rule, index)
        if curve.fit is not None:
            sizes = np.geomspace(curve.points[0].batch_size, curve.points[-1].batch_size, 50)
            axis.plot(sizes, curve.fit.steps(sizes), ":", color=f"C{index}", linewidth=1)
    examples = [point.examples for curve in results.whole.values() for point in curve.points]
    if math.isfinite(fewest := min(examples)):
        sizes = np.array([min(results.plan.sizes), max(results.plan.sizes)], float)
        axis.plot(sizes, fewest / sizes, "--", color="gray", label="ideal")
    if results.choice is not None:
        axis.axvline(results.choice.point.batch_size, color="black", alpha=0.3, label="recommended")
    _name(axis, results, "steps to the target")
    axis.set_yscale("log")


def _draw_curve(axis: Any, curve: ScalingCurve, label: str, index: int) -> None:
    reached = [point for point in curve.points if math.isfinite(point.steps.value)]
    sizes = [point.batch_size for point in reached]
    steps = [point.steps.value for point in reached]
    axis.plot(sizes, steps, label=label, **_style(index))
    known = [point for point in reached if math.isfinite(point.steps.low) and math.isfinite(point.steps.high)]
    if known:
        axis.fill_between(
            [point.batch_size for point in known],
            [point.steps.low for point in known],
            [point.steps.high for point in known],
            color=f"C{index}",
            alpha=0.15,
            linewidth=0,
        )
    missed = [point for point in curve.points if not math.isfinite(point.steps.value)]
    axis.plot([p.batch_size for p in missed], [p.least_steps for p in missed], "^", color=f"C{index}", fillstyle="none")


def _draw_cost(axis: Any, results: SweepResults) -> None:
    for index, (rule, curve) in enumerate(results.whole.items()):
        _draw_line(axis, curve, [point.cost for point in curve.points], rule, index)
    axis.axhline(1, linestyle="--", color="gray", label="ideal")
    axis.axhline(2, linestyle=":", color="gray", label="critical")
    if results.at_base is not None and math.isfinite(results.at_base.critical_batch_size_noise):
        axis.axvline(
            results.at_base.critical_batch_size_noise, color="tab:red", alpha=0.5, label="predicted by gradient noise"
        )
    _name(axis, results, "examples, relative to the rule's minimum")


def _draw_contours(axis: Any, results: SweepResults) -> None:
    for index, (target, curve) in enumerate(sorted(results.contours.items())):
        _draw_curve(axis, curve, f"{target:.3g}", index)
    rule = results.choice.rule if results.choice is not None else next(iter(results.whole))
    _name(axis, results, f"steps to other {results.plan.split} losses ({rule})")
    axis.set_yscale("log")


def _draw_seconds(axis: Any, results: SweepResults) -> None:
    for index, (rule, curve) in enumerate(results.whole.items()):
        _draw_line(axis, curve, [point.seconds for point in curve.points], rule, index)
    _name(axis, results, "seconds to the target on this machine")
    right = axis.twinx()
    points = next(iter(results.whole.values())).points
    right.plot([p.batch_size for p in points], [p.examples_per_s for p in points], "--", color="gray")
    right.set_ylabel("examples per second (dashed)", fontsize=8)
    right.set_ylim(bottom=0)


def _draw_linear_error(axis: Any, results: SweepResults) -> None:
    for index, (rule, curve) in enumerate(results.whole.items()):
        _draw_line(axis, curve, [point.linear_error or math.nan for point in curve.points], rule, index)
    _name(axis, results, "error of a linear prediction of the loss after a step")
    if axis.lines:
        axis.set_yscale("log")


def _draw_fractions(axis: Any, results: SweepResults) -> None:
    rule = results.choice.rule if results.choice is not None else next(iter(results.whole))
    for index, (fraction, curves) in enumerate(sorted(results.curves.items(), reverse=True)):
        if rule in curves:
            _draw_curve(axis, curves[rule], f"{fraction:.0%} of the data", index)
    _name(axis, results, f"steps by share of the data ({rule})")
    axis.set_yscale("log")


def _draw_noise(axis: Any, results: SweepResults) -> None:
    for index, (rule, curve) in enumerate(results.whole.items()):
        _draw_line(axis, curve, [point.critical_batch_size_noise for point in curve.points], rule, index)
    sizes = [min(results.plan.sizes), max(results.plan.sizes)]
    axis.plot(sizes, sizes, "--", color="gray", label="equal to the batch size")
    _name(axis, results, "critical batch size by gradient noise at each batch size")
    axis.set_yscale("log")


def _draw_line(axis: Any, curve: ScalingCurve, values: list[float], label: str, index: int) -> None:
    """Draw the finite values over the batch size."""
    pairs = [(p.batch_size, value) for p, value in zip(curve.points, values, strict=True) if math.isfinite(value)]
    if pairs:
        axis.plot(*zip(*pairs, strict=True), label=label, **_style(index))


def _name(axis: Any, results: SweepResults, title: str) -> None:
    axis.set_title(title, fontsize=9)
    axis.set_xscale("log", base=2)
    axis.set_xlabel("batch size")
    sizes = sorted(results.plan.sizes)
    axis.set_xticks(sizes, [str(size) for size in sizes], fontsize=7)
    axis.minorticks_off()


def _hide_crowded_sizes(axis: Any) -> None:
    """Hide each label of a batch size that would overlap the label to its left."""
    end_px = -math.inf
    for label in axis.get_xticklabels():
        box = label.get_window_extent()
        if box.x0 < end_px + 2:
            label.set_visible(False)
        else:
            end_px = box.x1
