"""Results on sequences with changing light and weather, as a table, a file and a figure."""

from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from typing import NamedTuple

from matplotlib.figure import Figure
from rich import box
from rich.console import Console
from rich.table import Table

from lightning_edge.atomic_files import replace_table
from lightning_edge.systems.streaming.domain_stream import DomainStream

_MAX_LETTERS = 75
"""Number of letters that fit in a row above the plot. Longer text is rotated."""


class StreamScore(NamedTuple):
    """Average precision of a net in a window of frames."""

    net: str
    frame: int
    """First frame of the window."""
    ap50: float
    """Average precision in percent."""


def report_stream(
    scores: Sequence[StreamScore],
    delays: Sequence[Sequence[int | None]],
    streams: Sequence[DomainStream],
    domains: Sequence[str],
    num_frames: int,
    folder: Path,
) -> dict[str, float]:
    """Write ``stream.csv`` and ``stream.png``, print a summary, and return its numbers.

    Args:
        scores: Scores of all nets.
        delays: For each sequence, the number of frames from each change until the net of the new domain is used.
        streams: The streams that detect the domain themselves.
        domains: Domains of the parts of a sequence.
        num_frames: Number of frames of each part.
        folder: Folder for the files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    replace_table(folder / "stream.csv", StreamScore._fields, scores)
    draw_stream(scores, domains, num_frames).savefig(folder / "stream.png", dpi=120)
    return _print(scores, delays, streams, domains, num_frames)


def draw_stream(scores: Sequence[StreamScore], domains: Sequence[str], num_frames: int) -> Figure:
    """Average precision of each net over time, with the domains above."""
    figure = Figure(figsize=(8, 4.4), layout="constrained")
    axes = figure.add_subplot()
    # nets that are equal most of the time stay visible under each other
    for net, style in zip(dict.fromkeys(score.net for score in scores), cycle(("o-", "s-", "x--")), strict=False):
        of_net = [score for score in scores if score.net == net]
        frames, ap50 = [score.frame for score in of_net], [score.ap50 for score in of_net]
        axes.plot(frames, ap50, style, markersize=4, label=net.replace("_", " "))
    is_crowded = len(domains) * max(map(len, domains)) > _MAX_LETTERS
    for part, domain in enumerate(domains):
        axes.axvline(part * num_frames, color="gray", linewidth=0.8)
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
    numbers: dict[str, float] = {}
    for net in dict.fromkeys(score.net for score in scores):
        of_net = [score for score in scores if score.net == net]
        parts = [[score.ap50 for score in of_net if score.frame // num_frames == part] for part in range(len(domains))]
        numbers[f"{net}_ap50"] = _mean([score.ap50 for score in of_net])
        table.add_row(net, *(f"{value:.1f}" for value in (numbers[f"{net}_ap50"], *map(_mean, parts))))
    console = Console(highlight=False)
    console.print(table)
    num_switches = sum(stream.num_switches for stream in streams)
    num_frames_seen = sum(stream.num_frames for stream in streams)
    mixing_ms = 1000 * sum(stream.mixing_s for stream in streams)
    numbers["switch_ms"] = mixing_ms / max(1, num_switches + len(streams))  # each stream also mixes at its first frame
    numbers["watching_ms"] = 1000 * sum(stream.watching_s for stream in streams) / num_frames_seen
    all_delays = [delay for of_sequence in delays for delay in of_sequence]
    known_delays = [delay for delay in all_delays if delay is not None]
    num_missed = len(all_delays) - len(known_delays)
    numbers["frames_to_switch"] = _mean(known_delays)
    console.print(
        f"Frames from a change of domain to the switch of the net: {sorted(known_delays)}"
        + (f"; {num_missed} changes without a switch" if num_missed else "")
        + f". {num_switches} switches in {num_frames_seen} frames. Mixing the weights takes "
        f"{numbers['switch_ms']:.2f} ms per switch; detecting the domain takes "
        f"{numbers['watching_ms']:.2f} ms per frame.",
        soft_wrap=True,
    )
    return numbers


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else float("nan")
