"""A sweep in words: a table, what it tells of critical sizes, and one sentence to act on."""

import math
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lightning_edge.systems.scaling_curve import ScalingCurve, ScalingPoint
    from lightning_edge.timing import Estimate
    from recipes._scaling_results import SweepResults


def recommend(found: "SweepResults") -> str:
    """Which batch size to train with, and why, in one sentence."""
    goal = f"a {found.plan.split} loss of {found.target:.4g}"
    if found.choice is None:
        given = f"{found.plan.max_examples:,} examples"
        return f"No run reached {goal} in {given}: raise target or max_examples, or learn at another rate."
    rule, point, cost, following = found.choice
    curve = found.whole[rule]
    first = next(other for other in curve.points if math.isfinite(other.steps.value))
    fewer = f"{first.steps.value / point.steps.value:.1f} times fewer than a batch of {first.batch_size}, "
    spent = f"for {cost:.3g} times the fewest examples of any" if cost >= 1.005 else "with the fewest examples of all"
    sentence = (
        f"Train with a batch of {point.batch_size} at a learning rate of {point.learning_rate:.3g} ({rule}): "
        f"{goal} takes {point.steps.value:,.0f} steps, {fewer if point is not first else ''}{spent}"
    )
    if following is None:
        return f"{sentence}; no larger one was tried."
    if following.regime == "diverged":
        return f"{sentence}; a batch of {following.batch_size} diverged."
    if following.regime == "not reached":
        return f"{sentence}; a batch of {following.batch_size} did not reach it in {following.least_steps:,.0f} steps."
    saved = 1 - following.steps.value / point.steps.value
    gain = f"saves {saved:.0%} of the steps" if saved >= 0.005 else "saves no steps"
    more = following.examples / point.examples
    return f"{sentence}; a batch of {following.batch_size} {gain} and takes {more:.2g} times these examples."


def remarks(found: "SweepResults") -> list[str]:
    """What else there is to say, a line each."""
    lines = [f"{rule}: critical batch size {_critical(curve)}" for rule, curve in found.whole.items()]
    if len(found.curves) > 1:
        lines += [
            f"{fraction:.0%} of the data, {rule}: critical batch size {_critical(curve)}"
            for fraction, curves in found.curves.items()
            for rule, curve in curves.items()
            if fraction < max(found.curves)
        ]
    base = found.at_base
    if base is not None and math.isfinite(base.critical_by_noise):
        examples = base.num_runs * min(base.examples, found.plan.max_examples)
        lines.append(
            f"The gradient noise scale at batch size {base.batch_size} foretells a critical one of "
            f"{base.critical_by_noise:,.0f}, from {examples / found.num_examples:.1%} of the sweep's examples."
        )
    timed = [point for curve in found.whole.values() for point in curve.points if math.isfinite(point.seconds)]
    if timed:
        fastest = min(timed, key=lambda point: point.seconds)
        lines.append(
            f"Iterations are not seconds: as run here, a batch of {fastest.batch_size} was the fastest, with "
            f"{fastest.seconds:,.0f} s and {fastest.examples_per_s:,.0f} examples a second."
        )
    if found.num_missing:
        lines.append(f"{found.num_missing} runs have not finished and are left out.")
    return lines


def print_results(found: "SweepResults", folder: Path) -> None:
    """Print the table, the remarks and the recommendation."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    seeds = f"{found.plan.num_seeds} seed{'s' if found.plan.num_seeds > 1 else ''}"
    table = Table(
        title=f"Steps to a {found.plan.split} loss of {found.target:.4g}, medians over {seeds}",
        caption="cost: examples as a multiple of the rule's fewest. The file below has more columns",
        box=box.SIMPLE,
        padding=0,
    )
    for heading in ("rule", "batch", "rate", "steps", "", "speed-up", "cost", "regime", "s"):
        table.add_column(heading, justify="left" if heading in ("rule", "regime") else "right", no_wrap=True)
    for fraction, curves in found.curves.items():
        for rule, curve in curves.items():
            name = rule if len(found.curves) == 1 else f"{rule}, {fraction:.0%}"
            for point in curve.points:
                table.add_row(name, *_cells(point))
            table.add_section()
    console = Console()
    console.print(table)
    for line in remarks(found):
        console.print(line, highlight=False)
    console.print(f"\n[bold]{recommend(found)}[/bold]", highlight=False)
    console.print(f"The table is {folder / 'scaling.csv'}, the picture {folder / 'scaling.png'}.", highlight=False)


def _cells(point: "ScalingPoint") -> tuple[str, ...]:
    bound = f">{point.least_steps:,.0f}" if point.regime == "not reached" else ""
    return (
        str(point.batch_size),
        f"{point.learning_rate:.3g}",
        _number(point.steps.value) or bound,
        _range(point.steps),
        _number(point.speedup, ".1f") if point.speedup else "",
        _number(point.cost, ".2f"),
        point.regime,
        _number(point.seconds),
    )


def _critical(curve: "ScalingCurve") -> str:
    smallest, largest = curve.points[0].batch_size, curve.points[-1].batch_size
    cost, fit = curve.critical_by_cost, curve.critical_by_fit
    if math.isnan(cost.value):
        by_cost = "unknown by cost: larger batches were given too few examples"
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


def _range(interval: "Estimate", before: str = "") -> str:
    low, high = interval.low, interval.high
    return "" if math.isnan(low) else f"{before}[{_number(low) or 'inf'}, {_number(high) or 'inf'}]"


def _number(value: float, form: str = ",.0f") -> str:
    return f"{value:{form}}" if math.isfinite(value) else ""
