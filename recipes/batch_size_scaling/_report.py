"""Text about a sweep: a table, the critical batch sizes, and a recommendation in one sentence."""

import math
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from lightning_edge.analysis.scaling_curve import ScalingCurve, ScalingPoint
from lightning_edge.timing import Estimate
from recipes.batch_size_scaling._results import SweepResults


def recommend(results: SweepResults) -> str:
    """The recommended batch size if several machines share a step, and the reason, in one sentence."""
    goal = f"a {results.plan.split} loss of {results.target:.4g}"
    if results.choice is None and results.num_missing:
        return f"None of the {results.num_runs} finished runs reached {goal}."
    if results.choice is None:
        budget = f"{results.plan.max_examples:,} examples"
        return f"No run reached {goal} in {budget}: raise target or max_examples, or use another learning rate."
    rule, point, cost, following = results.choice
    first = next(other for other in results.whole[rule].points if math.isfinite(other.steps.value))
    times = first.steps.value / point.steps.value
    fewer = "" if point is first else f"{times:.1f} times fewer than a batch of {first.batch_size} with this rule, "
    spent = (
        f"with {cost:.3g} times the fewest examples of all runs"
        if cost >= 1.005
        else "with the fewest examples of all runs"
    )
    return (
        f"If several machines share a step, train with {_settings(rule, point)}: {goal} takes {point.steps.value:,.0f} "
        f"steps, {fewer}{spent}; {_beyond(point, following)}."
    )


def recommend_here(results: SweepResults) -> str | None:
    """The fastest batch size on this machine, measured in seconds; ``None`` if no run reached the target."""
    timed = [(rule, point) for rule, curve in results.whole.items() for point in curve.points]
    rule, fastest = min(timed, key=lambda pair: pair[1].seconds)
    if not math.isfinite(fastest.seconds):
        return None
    chosen = results.choice.point if results.choice else fastest
    beside = "" if chosen is fastest else f"; the batch of {chosen.batch_size} took {chosen.seconds:,.3g} s"
    return (
        f"On this machine alone, the fastest was {_settings(rule, fastest)}: {fastest.seconds:,.3g} s at "
        f"{fastest.examples_per_s:,.0f} examples per second{beside}."
    )


def in_words(results: SweepResults) -> list[str]:
    """All lines below the table of a sweep. The recommendations come last."""
    return [*remarks(results), "", recommend(results), *filter(None, [recommend_here(results)])]


def _settings(rule: str, point: ScalingPoint) -> str:
    return f"a batch of {point.batch_size} at a learning rate of {point.learning_rate:.3g} ({rule})"


def _beyond(point: ScalingPoint, following: ScalingPoint | None) -> str:
    """The effect of the next larger batch."""
    if following is None:
        return "no larger batch was tried"
    batch = f"a batch of {following.batch_size}"
    if following.regime == "diverged":
        return f"{batch} diverged"
    if following.regime == "not reached":
        return f"{batch} did not reach it in {following.least_steps:,.0f} steps"
    saved = 1 - following.steps.value / point.steps.value
    gain = f"saves {saved:.0%} of the steps" if saved >= 0.005 else "saves no steps"
    return f"{batch} {gain} and takes {following.examples / point.examples:.2g} times as many examples"


def remarks(results: SweepResults) -> list[str]:
    """Remarks about the critical batch sizes and unfinished runs, one per line."""
    lines = [f"{rule}: critical batch size {_critical(curve)}" for rule, curve in results.whole.items()]
    if len(results.curves) > 1:
        lines += [
            f"{fraction:.0%} of the data, {rule}: critical batch size {_critical(curve)}"
            for fraction, curves in results.curves.items()
            for rule, curve in curves.items()
            if fraction < max(results.curves)
        ]
    base = results.at_base
    if base is not None and math.isfinite(base.critical_batch_size_noise):
        examples = base.num_runs * min(base.examples, results.plan.max_examples)
        lines.append(
            f"The gradient noise scale at batch size {base.batch_size} predicts a critical batch size of "
            f"{base.critical_batch_size_noise:,.0f} (plain SGD), from {examples / results.num_examples:.1%} of the "
            "sweep's examples."
        )
    if results.num_missing:
        lines.append(f"{results.num_missing} runs of this grid have not finished and are left out.")
    return lines


def print_results(results: SweepResults, folder: Path) -> None:
    """Print the table, the remarks and the recommendations."""
    seeds = f"{results.plan.num_seeds} seed{'s' if results.plan.num_seeds > 1 else ''}"
    table = Table(
        title=f"Steps to a {results.plan.split} loss of {results.target:.4g}, medians over {seeds}",
        caption="cost: examples divided by the fewest examples of the rule. The CSV file has more columns.",
        box=box.SIMPLE,
        padding=0,
    )
    for heading in ("rule", "batch", "rate", "steps", "", "speed-up", "cost", "regime", "s"):
        table.add_column(heading, justify="left" if heading in ("rule", "regime") else "right", no_wrap=True)
    for fraction, curves in results.curves.items():
        for rule, curve in curves.items():
            name = rule if len(results.curves) == 1 else f"{rule}, {fraction:.0%}"
            for point in curve.points:
                table.add_row(name, *_cells(point))
            table.add_section()
    console = Console()
    console.print(table)
    for line in in_words(results):
        console.print(line, highlight=False, style="bold" if line == recommend(results) else None)
    files = ", ".join(str(folder / f"scaling.{suffix}") for suffix in ("csv", "png", "txt"))
    console.print(f"The table, the figure and these lines are in {files}.", highlight=False)


def _cells(point: ScalingPoint) -> tuple[str, ...]:
    bound = f">{point.least_steps:,.0f}" if point.regime == "not reached" else ""
    return (
        str(point.batch_size),
        f"{point.learning_rate:.3g}",
        _number(point.steps.value) or bound,
        _range(point.steps),
        _number(point.speedup, ".1f") if point.speedup else "",
        _number(point.cost, ".2f"),
        point.regime,
        _number(point.seconds, ",.3g"),
    )


def _critical(curve: ScalingCurve) -> str:
    smallest, largest = curve.points[0].batch_size, curve.points[-1].batch_size
    cost, fit = curve.critical_batch_size_cost, curve.critical_batch_size_fit
    if not any(point.num_reached for point in curve.points):
        return "unknown: no run reached the target"
    if math.isnan(cost.value):
        by_cost = "unknown by cost: runs that missed the target had too few examples"
    elif math.isinf(cost.value):
        by_cost = f"beyond {largest} by cost"
    else:
        above = next(point for point in curve.points if point.batch_size >= cost.value)
        bound = "" if math.isfinite(above.steps.value) else "at most "
        by_cost = f"{bound}{cost.value:,.0f}{_range(cost, ' ')} by cost"
    if math.isnan(fit.value):
        return by_cost
    outside = f"below {smallest}" if fit.value == 0 else f"beyond {largest}" if math.isinf(fit.value) else ""
    return f"{by_cost}, {outside or f'{fit.value:,.0f}{_range(fit, chr(32))}'} by the fitted curve"


def _range(interval: Estimate, before: str = "") -> str:
    low, high = interval.low, interval.high
    return "" if math.isnan(low) else f"{before}[{_number(low) or 'inf'}, {_number(high) or 'inf'}]"


def _number(value: float, form: str = ",.0f") -> str:
    return f"{value:{form}}" if math.isfinite(value) else ""
