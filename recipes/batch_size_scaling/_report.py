"""A sweep in words: a table, what it tells of critical sizes, and one sentence to act on."""

import math
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from lightning_edge.analysis.scaling_curve import ScalingCurve, ScalingPoint
from lightning_edge.timing import Estimate
from recipes.batch_size_scaling._results import SweepResults


def recommend(found: SweepResults) -> str:
    """Which batch size to train with where machines share a step, and why, in one sentence."""
    goal = f"a {found.plan.split} loss of {found.target:.4g}"
    if found.choice is None and found.num_missing:
        return f"None of the {found.num_runs} finished runs reached {goal}."
    if found.choice is None:
        given = f"{found.plan.max_examples:,} examples"
        return f"No run reached {goal} in {given}: raise target or max_examples, or learn at another rate."
    rule, point, cost, following = found.choice
    first = next(other for other in found.whole[rule].points if math.isfinite(other.steps.value))
    times = first.steps.value / point.steps.value
    fewer = "" if point is first else f"{times:.1f} times fewer than a batch of {first.batch_size} by this rule, "
    spent = f"for {cost:.3g} times the fewest examples of any" if cost >= 1.005 else "with the fewest examples of all"
    return (
        f"With machines to share a step, train with {_settings(rule, point)}: {goal} takes {point.steps.value:,.0f} "
        f"steps, {fewer}{spent}; {_beyond(point, following)}."
    )


def recommend_here(found: SweepResults) -> str | None:
    """Which batch size was the fastest on the machine as it ran, for steps are not seconds; ``None`` if none was."""
    timed = [(rule, point) for rule, curve in found.whole.items() for point in curve.points]
    rule, fastest = min(timed, key=lambda pair: pair[1].seconds)
    if not math.isfinite(fastest.seconds):
        return None
    chosen = found.choice.point if found.choice else fastest
    beside = "" if chosen is fastest else f"; the batch of {chosen.batch_size} took {chosen.seconds:,.3g} s"
    return (
        f"On this machine alone, as it ran, the fastest was {_settings(rule, fastest)}: {fastest.seconds:,.3g} s at "
        f"{fastest.examples_per_s:,.0f} examples a second{beside}."
    )


def in_words(found: SweepResults) -> list[str]:
    """All that is said of a sweep below its table, the advice last."""
    return [*remarks(found), "", recommend(found), *filter(None, [recommend_here(found)])]


def _settings(rule: str, point: ScalingPoint) -> str:
    return f"a batch of {point.batch_size} at a learning rate of {point.learning_rate:.3g} ({rule})"


def _beyond(point: ScalingPoint, following: ScalingPoint | None) -> str:
    """What the next larger batch would do."""
    if following is None:
        return "no larger one was tried"
    batch = f"a batch of {following.batch_size}"
    if following.regime == "diverged":
        return f"{batch} diverged"
    if following.regime == "not reached":
        return f"{batch} did not reach it in {following.least_steps:,.0f} steps"
    saved = 1 - following.steps.value / point.steps.value
    gain = f"saves {saved:.0%} of the steps" if saved >= 0.005 else "saves no steps"
    return f"{batch} {gain} and takes {following.examples / point.examples:.2g} times these examples"


def remarks(found: SweepResults) -> list[str]:
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
    if base is not None and math.isfinite(base.critical_batch_size_noise):
        examples = base.num_runs * min(base.examples, found.plan.max_examples)
        lines.append(
            f"The gradient noise scale at batch size {base.batch_size} predicts a critical batch size of "
            f"{base.critical_batch_size_noise:,.0f} (plain SGD), from {examples / found.num_examples:.1%} of the "
            "sweep's examples."
        )
    if found.num_missing:
        lines.append(f"{found.num_missing} runs of this grid have not finished and are left out.")
    return lines


def print_results(found: SweepResults, folder: Path) -> None:
    """Print the table, the remarks and the recommendation."""
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
    for line in in_words(found):
        console.print(line, highlight=False, style="bold" if line == recommend(found) else None)
    files = (f"the table is {folder / 'scaling.csv'}", f"the picture {folder / 'scaling.png'}")
    console.print(f"These lines are {folder / 'scaling.txt'}, {', '.join(files)}.", highlight=False)


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
        by_cost = "unknown by cost: what did not reach the target was given too few examples to tell"
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
