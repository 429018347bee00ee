import math
import os

import pytest
import torch

from lightning_edge.analysis.tradeoff import (
    TradeoffRow,
    average_rows,
    best_within,
    measure,
    newest_rows,
    read_rows,
    tradeoff_row,
    write_rows,
)
from lightning_edge.contracts import IntervalScore
from lightning_edge.timing import Samples

LATENCY = {
    "reference key": Samples((20.0, 20.0, 20.0, 40.0, 20.0, 20.0, 20.0)),
    "accel key": Samples((10.0, 10.0, 10.0, 20.0, 10.0, 10.0, 30.0)),
    "accel": Samples((2.0, 2.0, 2.0, 4.0, 2.0, 2.0, 2.0)),
}
"""The fourth round ran on a machine of half the speed."""


def test_latency_is_averaged_over_key_frames_and_others():
    row = tradeoff_row(IntervalScore("accel", 5, 0.5, 0.4), LATENCY)
    assert row[:7] == ("accel", 5, 0.5, 0.4, 10, 2, pytest.approx((10 + 4 * 2) / 5))
    every_frame = tradeoff_row(IntervalScore("accel", 1, 0.5, 0.5), LATENCY)
    assert every_frame.mean_ms == 10
    assert math.isnan(every_frame.non_keyframe_ms)


def test_a_share_of_the_reference_is_paired_by_round():
    row = tradeoff_row(IntervalScore("accel", 5, 0.5, 0.4), LATENCY)
    assert row.latency_ratio == pytest.approx((10 + 4 * 2) / 5 / 20)
    assert row.latency_ratio_low == row.latency_ratio
    assert row.latency_ratio_high == pytest.approx((30 + 4 * 2) / 5 / 20)


def test_too_few_rounds_for_an_interval_are_refused():
    few = {name: Samples(samples.durations_ms[:5]) for name, samples in LATENCY.items()}
    with pytest.raises(ValueError, match="expected at least 6 samples"):
        tradeoff_row(IntervalScore("accel", 5, 0.5, 0.4), few)


def test_rows_survive_the_file(tmp_path):
    rows = [tradeoff_row(IntervalScore("accel", n, 0.1 * n, 0.09 * n), LATENCY) for n in (1, 2)]
    write_rows(rows, tmp_path / "tradeoff.csv")
    assert str(read_rows(tmp_path / "tradeoff.csv")) == str(rows)  # NaN equals nothing


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"net,interval\naccel,5\n",
        b"\xff\xfe\x00binary\x00",
        ",".join(TradeoffRow._fields).encode(),
        ",".join(TradeoffRow._fields).encode() + b"\naccel,5,0.5,0.4,20,8",
        ",".join(TradeoffRow._fields).encode() + b"\naccel,five,0.5,0.4,20,8,10,0.5,0.5,0.5",
        b'"' + 200_000 * b"a",
        *(
            ",".join(TradeoffRow._fields).encode() + b"\n" + row
            for row in (
                b"accel,5,0.5,0.4,20,8,10,0.5,0.5,0.5",
                b"accel,5,0.5,0.4,20,8,10,0.5,0.5,0.5,1\n",
                b"accel,-5,0.5,0.4,20,8,10,0.5,0.5,0.5\n",
                b"accel,5,inf,0.4,20,8,10,0.5,0.5,0.5\n",
                b"accel,5,0.5,1.4,20,8,10,0.5,0.5,0.5\n",
                b"accel,5,0.5,0.4,-20,8,10,0.5,0.5,0.5\n",
            )
        ),
    ],
    ids=[
        *("empty", "other columns", "binary", "no rows", "a part of a row", "no number", "a field without end"),
        *("no line end", "too many", "an interval below 1", "infinite", "no share", "a negative time"),
    ],
)
def test_a_damaged_file_is_named(content, tmp_path):
    (tmp_path / "tradeoff.csv").write_bytes(content)
    with pytest.raises(
        ValueError, match=r"tradeoff\.csv: expected rows of net, interval, .*got another or a damaged file"
    ):
        read_rows(tmp_path / "tradeoff.csv")


def test_the_newest_table_is_a_file(tmp_path):
    row = TradeoffRow("accel", 5, 0.5, 0.4, 20, 8, 10, 0.5, 0.5, 0.5)
    for name in ("old", "folder", "pipe"):
        (tmp_path / name).mkdir()
    write_rows([row], tmp_path / "old/tradeoff.csv")
    (tmp_path / "folder/tradeoff.csv").mkdir()
    os.mkfifo(tmp_path / "pipe/tradeoff.csv")
    assert newest_rows(tmp_path) == [row]


def test_a_table_is_written_whole_or_not_at_all(tmp_path):
    row = TradeoffRow("accel", 5, 0.5, 0.4, 20, 8, 10, 0.5, 0.5, 0.5)
    write_rows([row], tmp_path / "tradeoff.csv")
    before = (tmp_path / "tradeoff.csv").read_bytes()

    class Refused(TradeoffRow):
        def __iter__(self):
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        write_rows([row, row, Refused(*row)], tmp_path / "tradeoff.csv")
    assert (tmp_path / "tradeoff.csv").read_bytes() == before


def test_a_budget_for_key_frames_too_holds_for_the_mean():
    """Frames between key frames may take longer than those, as where the flow costs more than the net."""
    row = TradeoffRow("accel", 5, 0.5, 0.4, 10, 30, 26, 1.3, 1.3, 1.3)
    assert best_within([row], 20, worst_case=True) is None
    assert best_within([row], 26, worst_case=True) == row
    slow_key = row._replace(key_ms=40, mean_ms=20)
    assert best_within([slow_key], 30, worst_case=True) is None
    assert best_within([slow_key], 30) == slow_key


def test_a_net_that_diverged_is_never_the_best():
    nan = TradeoffRow("accel", 2, math.nan, math.nan, 20, 8, 14, 0.7, 0.7, 0.7)
    update = TradeoffRow("update", 1, 0.3, 0.3, 4, math.nan, 4, 0.2, 0.2, 0.2)
    assert best_within([nan, update], 15) == best_within([update, nan], 15) == update
    assert best_within([nan], 15) is None


def test_the_most_accurate_net_within_a_budget():
    rows = [
        TradeoffRow("reference", 1, 0.6, 0.6, 20, math.nan, 20, 1, 1, 1),
        TradeoffRow("update", 1, 0.3, 0.3, 4, math.nan, 4, 0.2, 0.2, 0.2),
        TradeoffRow("accel", 1, 0.6, 0.6, 19, math.nan, 19, 1, 1, 1),  # the reference, a little faster by chance
        TradeoffRow("accel", 2, 0.58, 0.57, 20, 8, 14, 0.7, 0.7, 0.7),
        TradeoffRow("accel", 5, 0.5, 0.4, 20, 8, 10.4, 0.5, 0.5, 0.5),
    ]
    assert best_within(rows, 25).net == "reference"
    assert best_within(rows, 19.5).interval == 2
    assert best_within(rows, 12).miou == 0.5
    assert best_within(rows, 12, worst_case=True).net == "update"
    assert best_within(rows, 3) is None


def test_runs_are_averaged_row_by_row():
    runs = [[TradeoffRow("dff", 1, miou, 0.1, 4, 2, 3, 0.5, 0.4, 0.6)] for miou in (0.2, 0.4)]
    assert average_rows(runs) == [TradeoffRow("dff", 1, pytest.approx(0.3), pytest.approx(0.1), 4, 2, 3, 0.5, 0.4, 0.6)]


def test_unlike_runs_are_refused():
    runs = [[TradeoffRow(net, 1, 0.2, 0.1, 4, 2, 3, 0.5, 0.4, 0.6)] for net in ("dff", "accel")]
    with pytest.raises(ValueError, match="expected runs of the same nets and intervals"):
        average_rows(runs)


class CountingNet:
    """Counts what it is asked for; a state is how many frames it has seen."""

    def __init__(self):
        self.calls = {"start": 0, "advance": 0, "scores": 0}

    def start(self, frame):
        self.calls["start"] += 1
        return 1

    def advance(self, state, frame):
        self.calls["advance"] += 1
        assert state == 1, "every timed frame must be the first after a key frame"
        return state + 1

    def logits(self, state):
        self.calls["scores"] += 1
        return torch.zeros(1, 2, 4, 4)


def test_each_round_times_one_key_frame_and_one_other_frame():
    net = CountingNet()
    latency = measure({"net": net}, torch.zeros(1, 2, 3, 4, 4), num_rounds=7)
    assert {name: len(samples) for name, samples in latency.items()} == {"net key": 7, "net": 7}
    assert net.calls["start"] - 1 == net.calls["advance"] >= 7
