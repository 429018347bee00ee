"""How a sweep runs: here or on Ray, stopped and gone on with, and past runs that fail."""

import math
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from small_sweep import call, losses_below

from callbacks import BatchSizeScaling
from lightning_edge.analysis.scaling_run import read_run
from recipes import batch_size_scaling
from recipes._experiments.jobs import Job, run_jobs
from recipes.batch_size_scaling._plan_file import read_plan
from recipes.batch_size_scaling._results import read_results, read_runs


def test_a_stopped_sweep_goes_on_and_loses_nothing(tmp_path):
    arguments = call("--sizes=[4,16]", "--lr_rules=['fixed']", f"--folder={tmp_path}/sweep")
    whole = batch_size_scaling.main(arguments).metrics
    runs = sorted((tmp_path / "sweep").rglob("done.json"))
    kept, lost = runs[0], runs[1]
    before = kept.stat().st_mtime_ns
    lost.unlink()  # as if it had been killed near its end
    losses = read_run(lost.parent).columns["train_loss"]
    assert batch_size_scaling.main(arguments).metrics == whole
    assert kept.stat().st_mtime_ns == before
    np.testing.assert_array_equal(read_run(lost.parent).columns["train_loss"], losses)
    more = call("--sizes=[4,16,24]", "--lr_rules=['fixed']", f"--folder={tmp_path}/sweep")
    batch_size_scaling.main(more)
    assert kept.stat().st_mtime_ns == before
    assert len(sorted((tmp_path / "sweep").rglob("done.json"))) == 3


def test_a_rate_that_diverges_is_a_finding_and_no_failure(tmp_path, capsys):
    arguments = call("--sizes=[4,16]", "--lr_rules=['tuned']", "--tuned_lrs=[0.01,1e30]", f"--folder={tmp_path}/sweep")
    batch_size_scaling.main(arguments)
    runs = read_runs(read_plan(tmp_path / "sweep"), tmp_path / "sweep")
    outcomes = {planned.setting.learning_rate: run.metadata.outcome for planned, run in runs.items()}
    assert outcomes == {0.01: "budget", 1e30: "diverged"}
    assert "diverged at step" in capsys.readouterr().err
    actual = read_results(tmp_path / "sweep")
    assert [point.learning_rate for point in actual.whole["tuned"].points] == [0.01, 0.01]


def test_a_batch_larger_than_the_data_is_named_before_anything_runs(tmp_path):
    arguments = call("--sizes=[4,512]", "--max_examples=512", f"--folder={tmp_path}/sweep", "--micro_batch_size=64")
    message = r"accumulate_grad_batches \(512\) of at most the number of training samples \(70\)"
    with pytest.raises(ValueError, match=message):
        batch_size_scaling.main(arguments)
    assert not list((tmp_path / "sweep").rglob("done.json"))
    fewer = call("--sizes=[64]", "--max_examples=512", f"--folder={tmp_path}/sweep", "--micro_batch_size=64")
    batch_size_scaling.main(fewer)  # the folder is not lost


@pytest.mark.slow
def test_ray_gives_the_same_runs_though_a_worker_is_killed(tmp_path, monkeypatch):
    pytest.importorskip("ray")
    support = Path(__file__).parents[2] / "support"
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(support), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        common = ["--sizes=[4,16]", "--lr_rules=['fixed']"]
        batch_size_scaling.main(call(*common, f"--folder={tmp_path}/here"))
        monkeypatch.setenv("FRAGILE", "size_16")
        spread = call(*common, f"--folder={tmp_path}/spread", "--backend=ray", recipe="outside.fragile")
        batch_size_scaling.main(spread)
    finally:
        torch.set_num_threads(threads)
    assert (tmp_path / "spread/fraction_1/size_16/lr_0.01/was_killed").exists()
    expected, actual = losses_below(tmp_path / "here"), losses_below(tmp_path / "spread")
    assert actual.keys() == expected.keys()
    for name, losses in expected.items():
        np.testing.assert_array_equal(actual[name], losses)


def test_without_ray_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(ImportError, match=r"pip install lightning-edge\[ray\]"):
        next(run_jobs([Job("shift", (), tmp_path)], backend="ray"))


def test_a_run_with_a_target_ends_there(tmp_path, capsys):
    arguments = call("--sizes=[16]", "--lr_rules=['fixed']", f"--folder={tmp_path}/sweep")
    batch_size_scaling.main([*arguments, "--target=2.36"])
    (planned,) = read_plan(tmp_path / "sweep").runs()
    run = read_run(tmp_path / "sweep" / planned.path)
    assert run.metadata.outcome == "reached"
    assert run.num_steps < 6
    assert math.isfinite(run.time_to_target(2.36, "train"))
    assert ": 2.36 at step " in capsys.readouterr().err
    with pytest.raises(
        ValueError, match=r"expected target of at least the loss at which the runs ended \(2.36\), got 2"
    ):
        batch_size_scaling.main(["analyze", f"--folder={tmp_path}/sweep", "--target=2"])
    with pytest.raises(ValueError, match=r"expected target below the train loss at the start"):
        batch_size_scaling.main(["analyze", f"--folder={tmp_path}/sweep", "--target=2.5"])


def test_a_target_that_is_met_from_the_start_is_refused(tmp_path):
    arguments = call("--sizes=[16]", "--lr_rules=['fixed']", f"--folder={tmp_path}/sweep", "--target=3")
    with pytest.raises(ValueError, match="expected target below the train loss at the start"):
        batch_size_scaling.main(arguments)
    assert not list((tmp_path / "sweep").rglob("done.json"))


@pytest.mark.parametrize("is_cut_short", [False, True], ids=["whole_checkpoint", "cut_short"])
def test_a_killed_run_of_accumulated_batches_ends_as_if_it_had_not_been(tmp_path, monkeypatch, is_cut_short):
    common = ("--sizes=[16]", "--lr_rules=['fixed']", "--micro_batch_size=4")
    batch_size_scaling.main(call(*common, f"--folder={tmp_path}/whole"))
    batch_end = BatchSizeScaling.on_train_batch_end

    def fail_within_the_fourth_step(self, trainer, module, outputs, batch, batch_idx):
        batch_end(self, trainer, module, outputs, batch, batch_idx)
        if trainer.fit_loop.epoch_loop.total_batch_idx == 13:
            raise RuntimeError("power cut")

    arguments = call(*common, f"--folder={tmp_path}/parts")
    with monkeypatch.context() as patch:
        patch.setattr(BatchSizeScaling, "on_train_batch_end", fail_within_the_fourth_step)
        with pytest.raises(RuntimeError, match="power cut"):
            batch_size_scaling.main(arguments)
    (checkpoint,) = (tmp_path / "parts").rglob("*.ckpt")
    if is_cut_short:
        checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    else:
        assert torch.load(checkpoint, weights_only=False)["global_step"] == 3
    batch_size_scaling.main(arguments)
    (expected,), (actual,) = (losses_below(tmp_path / name).values() for name in ("whole", "parts"))
    assert len(expected) == 7
    np.testing.assert_array_equal(actual, expected)


@pytest.fixture
def _ctrl_c_interrupts():
    """A shell starts background jobs, and so the tests in them, with Ctrl-C ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_ctrl_c_interrupts")
def test_ctrl_c_ends_a_sweep_and_tells_how_to_go_on(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(BatchSizeScaling, "on_train_batch_end", lambda *args: signal.raise_signal(signal.SIGINT))
    with pytest.raises(SystemExit, match="130"):
        batch_size_scaling.main(call("--sizes=[16]", "--lr_rules=['fixed']", f"--folder={tmp_path}/sweep"))
    assert "Interrupted after 0 of 1 runs. Repeat the command to continue." in capsys.readouterr().err


def test_lars_and_shares_of_the_data_run(tmp_path):
    arguments = call("--sizes=[8]", "--lr_rules=['lars']", "--fractions=[1,0.5]", f"--folder={tmp_path}/sweep")
    actual = batch_size_scaling.main([*arguments, "--base_size=4", "--lars_lr=2"]).metrics
    runs = read_runs(read_plan(tmp_path / "sweep"), tmp_path / "sweep")
    assert {planned.fraction: round(96 / run.evaluations[-1].epoch) for planned, run in runs.items()} == {
        1: 70,
        0.5: 40,
    }
    assert {run.metadata.learning_rate for run in runs.values()} == {4.0}  # twice that of the base
    config = next((tmp_path / "sweep").rglob("config.yaml")).read_text()
    assert "class_path: timm.optim.Lars" in config
    assert {"lars_of_1_critical_by_fit", "lars_of_0.5_critical_by_cost"} <= actual.keys()
