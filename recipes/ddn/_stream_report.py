"""What a drive through changing light and weather showed, as a table, a file and a picture."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from matplotlib.figure import Figure
from rich import box
from rich.console import Console
from rich.table import Table

from lightning_edge.systems.streaming.domain_stream import DomainStream

_MAX_LETTERS = 75
"""How much text fits in a row above the plot; more is set at a slant."""


class StreamScore(NamedTuple):
    """Average precision of a net at a time."""

    net: str
    frame: int
    """First one of the window."""
    ap50: float
    """Percent."""


def report_stream(
    scores: Sequence[StreamScore],
    delays: Sequence[Sequence[int | None]],
    streams: Sequence[DomainStream],
    domains: Sequence[str],
    num_frames: int,
    folder: Path,
) -> dict[str, float]:
    """Write ``stream.csv`` and ``stream.png``, print what they come to, and return it.

    Args:
        scores: Of all nets.
        delays: Frames from each change to the net of the new domain, for each drive.
        streams: Those that noticed.
        domains: Of the parts of a drive.
        num_frames: Of each part.
        folder: Where the files go.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "stream.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(StreamScore._fields)
        writer.writerows(scores)
    draw_stream(scores, domains, num_frames).savefig(folder / "stream.png", dpi=120)
    return _print(scores, delays, streams, domains, num_frames)


def draw_stream(scores: Sequence[StreamScore], domains: Sequence[str], num_frames: int) -> Figure:
    """Average precision of each net over time, with the domains above."""
    figure = Figure(figsize=(8, 4.4), layout="constrained")
    axes = figure.add_subplot()
    for net in dict.fromkeys(score.net for score in scores):
        of_net = [score for score in scores if score.net == net]
        axes.plot([score.frame for score in of_net], [score.ap50 for score in of_net], "o-", markersize=3, label=net)
    is_crowded = len(domains) * max(map(len, domains)) > _MAX_LETTERS
    for part, domain in enumerate(domains):
        axes.axvline(part * num_frames, color="grey", linewidth=0.8)
        place = (part + 0.02) * num_frames, 1.01
        axes.text(*place, domain, transform=axes.get_xaxis_transform(), rotation=30 if is_crowded else 0)
    axes.set_xlabel("frame")
    axes.set_ylabel("AP50, percent")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    figure.legend(loc="outside lower center", ncols=4, frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def _print(
    scores: Sequence[StreamScore],
    delays: Sequence[Sequence[int | None]],
    streams: Sequence[DomainStream],
    domains: Sequence[str],
    num_frames: int,
) -> dict[str, float]:

    table = Table(title="AP50 % (mean of the windows)", box=box.SIMPLE, padding=0)
    table.add_column("net")
    for heading in ("all", *domains):
        table.add_column(heading, justify="right")
    found: dict[str, float] = {}
    for net in dict.fromkeys(score.net for score in scores):
        of_net = [score for score in scores if score.net == net]
        parts = [[score.ap50 for score in of_net if score.frame // num_frames == part] for part in range(len(domains))]
        found[f"{net}_ap50"] = _mean([score.ap50 for score in of_net])
        table.add_row(net, *(f"{value:.1f}" for value in (found[f"{net}_ap50"], *map(_mean, parts))))
    console = Console(highlight=False)
    console.print(table)
    num_switches = sum(stream.num_switches for stream in streams)
    num_frames_seen = sum(stream.num_frames for stream in streams)
    mixing_ms = 1000 * sum(stream.mixing_s for stream in streams)
    found["switch_ms"] = mixing_ms / max(1, num_switches + len(streams))  # each also mixes at its first frame
    found["watching_ms"] = 1000 * sum(stream.watching_s for stream in streams) / num_frames_seen
    late = [delay for of_drive in delays for delay in of_drive]
    seen = [delay for delay in late if delay is not None]
    found["frames_to_switch"] = _mean(seen)
    console.print(
        f"frames from a change to the net of its domain: {sorted(seen)}"
        + (f", not at all: {len(late) - len(seen)}" if len(seen) < len(late) else "")
        + f"; {num_switches} switches in {num_frames_seen} frames, {found['switch_ms']:.2f} ms to mix the weights of "
        f"one, {found['watching_ms']:.2f} ms a frame to watch",
        soft_wrap=True,
    )
    return found


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else float("nan")
