"""Accuracy and latency of video nets by key-frame interval: measured, written, and averaged over runs."""

import csv
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from lightning_edge.contracts import IntervalScore, VideoNet
from lightning_edge.ops.classes import predict_classes
from lightning_edge.timing import Samples, interleave, ratio


class TradeoffRow(NamedTuple):
    """One net at one key-frame interval, as it stands in ``tradeoff.csv``."""

    net: str
    interval: int
    miou: float
    """Over all frames, in [0, 1]."""
    miou_worst: float
    """On the last frame before the next key frame, in [0, 1]."""
    key_ms: float
    """Median latency of a key frame."""
    non_keyframe_ms: float
    """Median latency of any other frame; NaN at interval 1, where there is none."""
    mean_ms: float
    """Latency per frame, averaged over key frames and others; the median over rounds."""
    latency_ratio: float
    """The same as a multiple of the reference on every frame; the median over rounds of the quotient within a round."""
    latency_ratio_low: float
    """Lower end of its 95 % interval."""
    latency_ratio_high: float
    """Upper end of its 95 % interval."""


_OLD_COLUMNS = {
    "carried_ms": "non_keyframe_ms",
    "of_reference": "latency_ratio",
    "of_reference_low": "latency_ratio_low",
    "of_reference_high": "latency_ratio_high",
}
"""Names that columns of ``tradeoff.csv`` had before."""


def measure(nets: Mapping[str, VideoNet], frames: Tensor, num_rounds: int) -> dict[str, Samples]:
    """Time a key frame (``<net> key``) and the frame after it (``<net>``) of each net, all interleaved.

    Args:
        nets: Nets in evaluation mode.
        frames: Two frames of one video, ``[1, 2, 3, height, width]`` in [0, 1].
        num_rounds: Runs of each.
    """
    return interleave(steps_to_time(nets, frames), num_rounds, device=frames.device)


@torch.inference_mode()
def steps_to_time(nets: Mapping[str, VideoNet], frames: Tensor) -> dict[str, Callable[[], None]]:
    """What :func:`measure` times, by name."""
    first, second = frames.unbind(1)

    @torch.inference_mode()
    def key(net: VideoNet) -> None:
        predict_classes(net.logits(net.start(first)))

    @torch.inference_mode()
    def carried(net: VideoNet, state: Any) -> None:
        predict_classes(net.logits(net.advance(state, second)))

    steps: dict[str, Callable[[], None]] = {}
    for name, net in nets.items():
        steps[f"{name} key"] = partial(key, net)
        steps[name] = partial(carried, net, net.start(first))
    return steps


def accuracy_row(score: IntervalScore) -> TradeoffRow:
    """Accuracy of one net at one interval, its times not measured: NaN."""
    return TradeoffRow(*score, *[math.nan] * (len(TradeoffRow._fields) - len(score)))


def tradeoff_row(score: IntervalScore, latency: Mapping[str, Samples]) -> TradeoffRow:
    """Accuracy of one net at one interval beside its latency from ``measure``, of nets among which is ``reference``.

    Raises:
        ValueError: If there are too few rounds for an interval.
    """
    key, carried = latency[f"{score.net} key"], latency[score.net]
    mean_ms = (np.array(key.durations_ms) + (score.interval - 1) * np.array(carried.durations_ms)) / score.interval
    return TradeoffRow(
        *score,
        float(np.median(key.durations_ms)),
        float(np.median(carried.durations_ms)) if score.interval > 1 else math.nan,
        float(np.median(mean_ms)),
        *ratio(Samples(tuple(mean_ms.tolist())), latency["reference key"]),
    )


def best_within(rows: Sequence[TradeoffRow], budget_ms: float, worst_case: bool = False) -> TradeoffRow | None:
    """The most accurate net and interval within a budget, ``None`` if none is so fast or all accuracies are NaN.

    Args:
        rows: What there is to choose from.
        budget_ms: Time a frame, milliseconds.
        worst_case: Whether the median key frame has to meet it as well as the mean.
    """
    carrying = {row.net for row in rows if row.interval > 1}  # at interval 1 they are the reference
    distinct = [row for row in rows if row.interval > 1 or row.net not in carrying]
    fast = [row for row in distinct if (max(row.key_ms, row.mean_ms) if worst_case else row.mean_ms) <= budget_ms]
    return max((row for row in fast if not math.isnan(row.miou)), key=lambda row: row.miou, default=None)


def write_rows(rows: Sequence[TradeoffRow], path: Path) -> None:
    """Write rows as CSV under a line of names, all or none."""
    partial = path.with_name(f"{path.name}.partial")  # a table that a kill has cut would be one of fewer intervals
    with partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(TradeoffRow._fields)
        writer.writerows(rows)
    partial.replace(path)


def newest_rows(folder: Path) -> list[TradeoffRow]:
    """Read the newest ``tradeoff.csv`` below a folder.

    Raises:
        FileNotFoundError: If there is none.
    """
    tables = filter(Path.is_file, folder.rglob("tradeoff.csv"))
    newest = max(tables, key=lambda path: path.stat().st_mtime, default=None)
    if newest is None:
        raise FileNotFoundError(f"expected the folder of a run that left tradeoff.csv, got {folder}")
    return read_rows(newest)


def read_rows(path: Path) -> list[TradeoffRow]:
    """Read what ``write_rows`` wrote.

    Raises:
        ValueError: The file holds something else, or is damaged.
    """
    try:
        text = path.read_text(encoding="utf-8")
        records = csv.DictReader(text.splitlines(), strict=True)
        rows = [_row_of({_OLD_COLUMNS.get(name, name): value for name, value in row.items()}) for row in records]
        rows = rows if text.endswith("\n") else []  # its last number may be cut
    except (KeyError, TypeError, ValueError, csv.Error):
        rows = []
    if not rows:
        raise ValueError(
            f"{path}: expected rows of {', '.join(TradeoffRow._fields)}, as TradeoffReport writes them, got another or "
            "a damaged file; run the training or the test again, or name the folder of another run"
        )
    return rows


def _row_of(record: Mapping[str, str]) -> TradeoffRow:
    numbers = [float(record[name]) for name in TradeoffRow._fields[2:]]
    row = TradeoffRow(record["net"], int(record["interval"]), *numbers)
    is_share = all(math.isnan(share) or 0 <= share <= 1 for share in (row.miou, row.miou_worst))
    is_time = all(math.isnan(time) or 0 <= time < math.inf for time in numbers[2:])
    if len(record) != len(row) or row.interval < 1 or not (is_share and is_time):
        raise ValueError(f"no row of a trade-off: {record}")
    return row


def average_rows(runs: Sequence[Sequence[TradeoffRow]]) -> list[TradeoffRow]:
    """Mean of each number over runs, row by row, also of the ends of intervals.

    Raises:
        ValueError: If the runs do not hold the same nets and intervals in the same order.
    """
    averaged = []
    for rows in zip(*runs, strict=True):
        names = {row[:2] for row in rows}
        if len(names) != 1:
            raise ValueError(f"expected runs of the same nets and intervals, got {sorted(names)} in one row")
        averaged.append(TradeoffRow(*rows[0][:2], *np.mean([row[2:] for row in rows], axis=0).tolist()))
    return averaged
