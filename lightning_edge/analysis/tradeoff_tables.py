"""Tables of the trade-off between accuracy and latency, for one run, several seeds, and several variants."""

from collections.abc import Mapping, Sequence
from itertools import chain

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from lightning_edge.analysis.intervals import mean_with_interval
from lightning_edge.analysis.tradeoff import TradeoffRow

NET_TITLES = {
    "reference": "reference, every frame",
    "update": "update net, every frame",
    "copy": "features copied",
    "dff": "Deep Feature Flow",
    "trained_dff": "Deep Feature Flow, trained separately",
    "accel": "Accel",
}
_CAPTION = "worst: on the last frame before the next key frame. x reference: time divided by its time, 95 % interval"
_VARIANTS_CAPTION = (
    "worst: Accel on the last frame before the next key frame. -NAME: Accel minus NAME, where alone is the reference "
    "that was trained alone. time: time of Accel divided by that of the reference"
)


def print_accuracy(rows: Sequence[TradeoffRow], interval: int) -> None:
    """Print the accuracy of each net at its natural interval, in one line."""
    at = at_interval(rows, interval).values()
    scores = ", ".join(f"{NET_TITLES.get(row.net, row.net)} {100 * row.miou:.1f}" for row in at)
    Console(soft_wrap=True, highlight=False).print(f"mIoU %, one key frame in {interval}: {scores}", markup=False)


def print_table(rows: Sequence[TradeoffRow], interval: int) -> None:
    """Print each net at its natural interval, which is 1 for single-frame nets and ``interval`` for the others."""
    table = Table(title=f"Accuracy and latency, one key frame in {interval}", caption=_CAPTION)
    table.add_column("net", no_wrap=True)
    for heading in ("mIoU %", "worst %", "ms/frame", "x reference"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in at_interval(rows, interval).values():
        table.add_row(
            NET_TITLES.get(row.net, row.net),
            f"{100 * row.miou:.1f}",
            f"{100 * row.miou_worst:.1f}",
            f"{row.mean_ms:.1f}",
            f"{row.latency_ratio:.2f} [{row.latency_ratio_low:.2f}, {row.latency_ratio_high:.2f}]",
        )
    Console().print(table)


def describe(row: TradeoffRow) -> str:
    """Describe one net at one interval in one line."""
    what, key = NET_TITLES.get(row.net, row.net), ""
    if row.interval > 1:
        what, key = f"{what}, one key frame in {row.interval}", f", a key frame {row.key_ms:.1f} ms"
    return f"{what}: {100 * row.miou:.1f} % mIoU, {row.mean_ms:.1f} ms{key}"


def print_intervals(runs: Sequence[Sequence[TradeoffRow]]) -> None:
    """Print the mean IoU of every net at every interval over runs with different seeds, with a 95 % interval."""
    table = Table(title=f"mIoU % by key-frame interval, mean of {len(runs)} seeds with 95 % interval", show_lines=False)
    nets = list(dict.fromkeys(row.net for row in runs[0]))
    for heading in ("n", *(NET_TITLES.get(net, net) for net in nets)):
        table.add_column(heading, justify="right")
    mious: dict[tuple[str, int], list[float]] = {}
    for row in chain.from_iterable(runs):
        mious.setdefault((row.net, row.interval), []).append(100 * row.miou)
    for interval in sorted({interval for _, interval in mious}):
        table.add_row(str(interval), *(mean_with_interval(mious.get((net, interval), [])) for net in nets))
    Console().print(table)


def print_gain(runs: Sequence[Sequence[TradeoffRow]], net: str, rival: str) -> None:
    """Print the difference in accuracy between two nets at every interval, paired by run."""
    table = Table(title=f"{NET_TITLES[net]} minus {NET_TITLES[rival]}: mIoU %, with 95 % interval over seeds")
    for heading in ("n", "all frames", "last frame"):
        table.add_column(heading, justify="right")
    for interval in sorted({row.interval for row in runs[0] if row.net == net and row.interval > 1}):
        pairs = [at_interval(rows, interval) for rows in runs]
        gains = [100 * (pair[net].miou - pair[rival].miou) for pair in pairs]
        worst = [100 * (pair[net].miou_worst - pair[rival].miou_worst) for pair in pairs]
        table.add_row(str(interval), mean_with_interval(gains), mean_with_interval(worst))
    Console().print(table)


def print_variants(
    variants: Mapping[str, Sequence[Sequence[TradeoffRow]]], interval: int, alone: str | None = None
) -> None:
    """Print the results of each variant of a training at one interval.

    Args:
        variants: Runs of each variant, one for each seed, by the name of the variant.
        interval: Key-frame interval.
        alone: Name of the variant whose reference was trained alone. The Accel of every variant is then compared with
            this reference instead of its own.
    """
    num_seeds = max(map(len, variants.values()))
    title = f"One key frame in {interval}: mIoU %, mean of {num_seeds} seeds with 95 % interval"
    table = Table(title=title, caption=_VARIANTS_CAPTION, box=box.SIMPLE, padding=0)
    table.add_column("variant", no_wrap=True)
    for heading in ("reference", "DFF", "Accel", "worst", "-alone" if alone else "-reference", "-DFF", "time"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name, runs in variants.items():
        reference, dff, accel = (_miou_percent(runs, interval, net) for net in ("reference", "dff", "accel"))
        worst = np.array([100 * at_interval(rows, interval)["accel"].miou_worst for rows in runs])
        rival = _miou_percent(variants[alone], interval, "reference") if alone else reference
        columns = (reference, dff, accel, worst, accel - rival, accel - dff)
        time = np.mean([at_interval(rows, interval)["accel"].latency_ratio for rows in runs])
        table.add_row(name, *map(mean_with_interval, columns), f"{time:.2f}")
    Console().print(table)


def _miou_percent(runs: Sequence[Sequence[TradeoffRow]], interval: int, net: str) -> np.ndarray:
    """Mean IoU of a net in each run, in percent."""
    return np.array([100 * at_interval(rows, interval)[net].miou for rows in runs])


def at_interval(rows: Sequence[TradeoffRow], interval: int) -> dict[str, TradeoffRow]:
    """Row of each net at its natural interval, which is 1 for single-frame nets and ``interval`` for the others."""
    propagating = {row.net for row in rows if row.interval > 1}
    return {row.net: row for row in rows if row.interval == (interval if row.net in propagating else 1)}
