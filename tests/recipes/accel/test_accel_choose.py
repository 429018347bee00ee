"""The command that reads off what fits a latency budget."""

from pathlib import Path

import pytest

from lightning_edge.analysis.tradeoff import TradeoffRow, write_rows
from recipes import accel

ROWS = [
    TradeoffRow("reference", 1, 0.6, 0.6, 20, float("nan"), 20, 1, 1, 1),
    TradeoffRow("update", 1, 0.3, 0.3, 4, float("nan"), 4, 0.2, 0.2, 0.2),
    TradeoffRow("accel", 5, 0.5, 0.4, 20, 8, 10.4, 0.52, 0.5, 0.55),
]


@pytest.fixture
def run():
    folder = Path("runs/accel/version_3")
    folder.mkdir(parents=True)
    write_rows(ROWS, folder / "tradeoff.csv")


@pytest.mark.usefixtures("run")
def test_the_best_within_a_budget_is_told(capsys):
    actual = accel.main(["choose", "--budget_ms=15"]).metrics
    assert (actual["on_average_interval"], actual["worst_case_miou"]) == (5, 0.3)
    said = capsys.readouterr().out.splitlines()
    assert "Within 15 ms on average: Accel, one key frame in 5: 50.0 % mIoU, 10.4 ms, a key frame 20.0 ms" in said
    assert "Within 15 ms for the median key frame too: update net, every frame: 30.0 % mIoU, 4.0 ms" in said


@pytest.mark.usefixtures("run")
def test_so_is_that_nothing_is_so_fast(capsys):
    assert accel.main(["choose", "--budget_ms=1"]).metrics == {}
    assert "Within 1 ms on average: no measured net is fast enough" in capsys.readouterr().out


def test_a_folder_without_a_run_is_refused():
    with pytest.raises(
        FileNotFoundError, match=r"there is no tradeoff\.csv in nowhere: run `python -m recipes\.accel fit` first"
    ):
        accel.main(["choose", "--budget_ms=15", "--run=nowhere"])
