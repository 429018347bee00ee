"""What is read off the finished runs of a sweep."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread
from small_sweep import call
from wandb_offline import read_offline_run

from recipes import batch_size_scaling
from recipes.batch_size_scaling._plan import Setting
from recipes.batch_size_scaling._plan_file import read_plan
from recipes.batch_size_scaling._report import recommend, remarks
from recipes.batch_size_scaling._results import read_results, read_runs

FOLDER = Path("runs/batch_size_scaling")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A sweep of two sizes under two rules, which the tests only read."""
    home = tmp_path_factory.mktemp("sweep")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        patch.setenv("WANDB_MODE", "disabled")
        metrics = batch_size_scaling.main(call("--sizes=[4,16]", "--base_size=4", "--num_seeds=2")).metrics
    return home / FOLDER, metrics


def test_every_run_has_its_folder_and_its_noise_is_measured(finished):
    folder, _ = finished
    plan = read_plan(folder)
    runs = read_runs(plan, folder)
    # two sizes, one rate at the base, two at the other size, two seeds
    assert len(runs) == len(plan.runs()) == 6
    for planned, run in runs.items():
        assert run.metadata.batch_size == planned.size
        assert run.metadata.learning_rate == pytest.approx(planned.setting.learning_rate)
        assert run.num_steps == 96 // planned.size
        assert run.evaluations[-1].examples == 96
        assert "noise/scale" in next((folder / planned.path).rglob("metrics.csv")).read_text()
    assert {planned.setting for planned in runs} == {Setting(0.01), Setting(0.04, warms_up=True)}


def test_seeds_differ_and_the_evaluated_samples_do_not(finished):
    folder, _ = finished
    runs = read_runs(read_plan(folder), folder)
    first = {planned.seed: run.evaluations[0].train_loss for planned, run in runs.items() if planned.size == 4}
    assert first[0] != first[1]  # weights differ
    by_size = [run.evaluations[0].train_loss for planned, run in runs.items() if planned.seed == 0]
    assert len(set(by_size)) == 1  # and for one seed begin alike at every batch size


def test_the_analysis_leaves_a_table_a_picture_and_numbers(finished):
    folder, metrics = finished
    with (folder / "scaling.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["rule"], row["batch_size"]) for row in rows] == [
        (rule, size) for rule in ("fixed", "linear") for size in ("4", "16")
    ]
    actual = read_results(folder)
    for row in rows:
        runs = read_runs(read_plan(folder), folder)
        steps = [
            max(1, run.time_to_target(actual.target, "train"))
            for planned, run in runs.items()
            if planned.size == int(row["batch_size"])
            and planned.setting in actual.plan.settings(row["rule"], planned.size)
        ]
        assert float(row["steps"]) == pytest.approx(np.median(steps))
        assert row["num_runs"] == "2"
    assert imread(folder / "scaling.png").shape[1] == 1680
    assert metrics["target"] == pytest.approx(actual.target)
    assert {"fixed_critical_by_cost", "linear_critical_by_fit", "num_missing"} <= metrics.keys()


def test_other_targets_are_read_off_the_same_runs(finished):
    folder, _ = finished
    easy = read_results(folder, target=2.35)
    assert easy.target == 2.35
    assert easy.choice is not None
    text = recommend(easy)
    assert text.startswith(
        f"If several machines share a step, train with a batch of {easy.choice.point.batch_size} at a learning rate of"
    )
    assert "a train loss of 2.35 takes" in text
    assert "fewest examples" in text
    hard = read_results(folder, target=0.01)
    assert hard.choice is None
    assert recommend(hard).startswith("No run reached a train loss of 0.01 in 96 examples: raise target")
    assert all(point.num_reached == 0 for curve in hard.whole.values() for point in curve.points)
    assert remarks(hard)


def test_the_analysis_is_logged_to_wandb(finished, monkeypatch, caplog):
    folder, _ = finished
    monkeypatch.setenv("WANDB_MODE", "offline")
    actual = batch_size_scaling.main(["analyze", f"--folder={folder}", "--wandb=true"]).metrics
    run = read_offline_run(folder)
    assert run.summary["target"] == pytest.approx(actual["target"])
    assert run.summary["scaling/table/nrows"] == 4
    assert len(list(run.files.rglob("*.png"))) == 1
    assert "`wandb sync " in caplog.text


def test_a_sweep_of_another_kind_is_refused_in_a_folder_that_has_one(finished):
    folder, _ = finished
    before = (folder / "sweep.json").read_text()
    with pytest.raises(
        ValueError, match="to have a sweep with max_examples 48, got one with 96: choose another folder"
    ):
        batch_size_scaling.main(call("--sizes=[4,16]", "--base_size=4", f"--folder={folder}", "--max_examples=48"))
    assert (folder / "sweep.json").read_text() == before


def test_unfinished_runs_are_counted_and_left_out(finished, tmp_path, capsys):
    folder, _ = finished
    plan = json.loads((folder / "sweep.json").read_text())
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / "sweep.json").write_text(json.dumps({**plan, "num_seeds": 1}))
    (copy / "fraction_1").mkdir()
    for name in ("size_4", "size_16"):
        (copy / "fraction_1" / name).symlink_to(folder / "fraction_1" / name)
    assert read_results(copy).num_missing == 0
    (copy / "sweep.json").write_text(json.dumps({**plan, "num_seeds": 3}))
    actual = batch_size_scaling.main(["analyze", f"--folder={copy}"]).metrics
    assert actual["num_missing"] == 3
    assert "3 runs of this grid have not finished and are left out." in capsys.readouterr().out
