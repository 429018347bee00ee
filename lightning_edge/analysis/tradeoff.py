"""Accuracy and latency of video nets by key-frame interval: measure, write, read, and average over runs."""

import csv
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from lightning_edge.atomic_files import replace_table
from lightning_edge.contracts import IntervalScore, VideoNet
from lightning_edge.ops.classes import predict_classes
from lightning_edge.timing import Samples, interleave, ratio


class TradeoffRow(NamedTuple):
    """One net at one key-frame interval, a row of ``tradeoff.csv``."""

    net: str
    interval: int
    miou: float
    """Mean IoU over all frames, in [0, 1]."""
    miou_worst: float
    """Mean IoU on the last frame before the next key frame, in [0, 1]."""
    key_ms: float
    """Median latency of a key frame, in milliseconds."""
    non_keyframe_ms: float
    """Median latency of any other frame, in milliseconds; NaN at interval 1, where there is none."""
    mean_ms: float
    """Mean latency per frame over key frames and others, in milliseconds; the median over rounds."""
    latency_ratio: float
    """Mean latency divided by that of the reference on every frame; median over rounds of the quotient in a round."""
    latency_ratio_low: float
    """Lower end of the 95 % interval of ``latency_ratio``."""
    latency_ratio_high: float
    """Upper end of the 95 % interval of ``latency_ratio``."""


_OLD_COLUMNS = {
    "carried_ms": "non_keyframe_ms",
    "of_reference": "latency_ratio",
    "of_reference_low": "latency_ratio_low",
    "of_reference_high": "latency_ratio_high",
}
"""New names of columns of ``tradeoff.csv``, by their old names."""


def measure(nets: Mapping[str, VideoNet], frames: Tensor, num_rounds: int) -> dict[str, Samples]:
    """Time a key frame (``<net> key``) and the frame after it (``<net>``) of each net, all interleaved.

    Args:
        nets: Nets in evaluation mode, by name.
        frames: Two frames of one video, ``[1, 2, 3, height, width]`` in [0, 1].
        num_rounds: Number of runs of each frame of each net.
    """
    return interleave(steps_to_time(nets, frames), num_rounds, device=frames.device)


@torch.inference_mode()
def steps_to_time(nets: Mapping[str, VideoNet], frames: Tensor) -> dict[str, Callable[[], None]]:
    """Functions that :func:`measure` times, by name."""
    first, second = frames.unbind(1)

    @torch.inference_mode()
    def key(net: VideoNet) -> None:
        predict_classes(net.logits(net.start(first)))

    @torch.inference_mode()
    def non_key(net: VideoNet, state: Any) -> None:
        predict_classes(net.logits(net.advance(state, second)))

    steps: dict[str, Callable[[], None]] = {}
    for name, net in nets.items():
        steps[f"{name} key"] = partial(key, net)
        steps[name] = partial(non_key, net, net.start(first))
    return steps


def accuracy_row(score: IntervalScore) -> TradeoffRow:
    """Accuracy of one net at one interval; its times are NaN, because they are not measured."""
    return TradeoffRow(*score, *[math.nan] * (len(TradeoffRow._fields) - len(score)))


def tradeoff_row(score: IntervalScore, latency: Mapping[str, Samples]) -> TradeoffRow:
    """Accuracy of one net at one interval, with its latency.

    Args:
        score: Accuracy of the net.
        latency: Result of ``measure``, which must include the net and ``reference``.

    Raises:
        ValueError: There are too few rounds for an interval.
    """
    key, non_key = latency[f"{score.net} key"], latency[score.net]
    mean_ms = (np.array(key.durations_ms) + (score.interval - 1) * np.array(non_key.durations_ms)) / score.interval
    return TradeoffRow(
        *score,
        float(np.median(key.durations_ms)),
        float(np.median(non_key.durations_ms)) if score.interval > 1 else math.nan,
        float(np.median(mean_ms)),
        *ratio(Samples(tuple(mean_ms.tolist())), latency["reference key"]),
    )


def best_within(rows: Sequence[TradeoffRow], budget_ms: float, worst_case: bool = False) -> TradeoffRow | None:
    """The most accurate net and interval within a budget; ``None`` if none is fast enough or all accuracies are NaN.

    Args:
        rows: Nets and intervals to choose from.
        budget_ms: Latency budget for a frame, in milliseconds.
        worst_case: Whether the median latency of a key frame must meet the budget too, in addition to the mean latency.
    """
    propagating = {row.net for row in rows if row.interval > 1}  # at interval 1 these are equal to the reference
    distinct = [row for row in rows if row.interval > 1 or row.net not in propagating]
    fast = [row for row in distinct if (max(row.key_ms, row.mean_ms) if worst_case else row.mean_ms) <= budget_ms]
    return max((row for row in fast if not math.isnan(row.miou)), key=lambda row: row.miou, default=None)


def write_rows(rows: Sequence[TradeoffRow], path: Path) -> None:
    """Write rows as CSV with a header, atomically."""
    replace_table(path, TradeoffRow._fields, rows)


def newest_rows(folder: Path) -> list[TradeoffRow]:
    """Read the newest ``tradeoff.csv`` below a folder.

    Raises:
        FileNotFoundError: There is no such file.
    """
    tables = filter(Path.is_file, folder.rglob("tradeoff.csv"))
    newest = max(tables, key=lambda path: path.stat().st_mtime, default=None)
    if newest is None:
        raise FileNotFoundError(f"expected the folder of a run that wrote tradeoff.csv, got {folder}")
    return read_rows(newest)


def read_rows(path: Path) -> list[TradeoffRow]:
    """Read rows that ``write_rows`` wrote.

    Raises:
        ValueError: The file is not such a table, or is damaged.
    """
    try:
        text = path.read_text(encoding="utf-8")
        records = csv.DictReader(text.splitlines(), strict=True)
        rows = [_row_of({_OLD_COLUMNS.get(name, name): value for name, value in row.items()}) for row in records]
        rows = rows if text.endswith("\n") else []  # its last number may be truncated
    except (KeyError, TypeError, ValueError, csv.Error):
        rows = []
    if not rows:
        raise ValueError(
            f"{path}: expected rows of {', '.join(TradeoffRow._fields)}, as TradeoffReport writes them, got "
            "another or a damaged file. Run the training or the test again, or give the folder of another run."
        )
    return rows


def _row_of(record: Mapping[str, str]) -> TradeoffRow:
    numbers = [float(record[name]) for name in TradeoffRow._fields[2:]]
    row = TradeoffRow(record["net"], int(record["interval"]), *numbers)
    is_share = all(math.isnan(share) or 0 <= share <= 1 for share in (row.miou, row.miou_worst))
    is_time = all(math.isnan(time) or 0 <= time < math.inf for time in numbers[2:])
    if len(record) != len(row) or row.interval < 1 or not (is_share and is_time):
        raise ValueError(f"expected a row of a trade-off table, got {record}")
    return row


def average_rows(runs: Sequence[Sequence[TradeoffRow]]) -> list[TradeoffRow]:
    """Average each row over runs, including the ends of intervals.

    Raises:
        ValueError: The runs do not have the same nets and intervals in the same order.
    """
    averaged = []
    for rows in zip(*runs, strict=True):
        names = {row[:2] for row in rows}
        if len(names) != 1:
            raise ValueError(f"expected runs of the same nets and intervals, got {sorted(names)} in one row")
        averaged.append(TradeoffRow(*rows[0][:2], *np.mean([row[2:] for row in rows], axis=0).tolist()))
    return averaged
