"""A sweep over batch sizes: its runs, what becomes of it when it is stopped or wrong, and what is read off it."""

import csv
import json
import math
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.image import imread
from wandb_offline import read_offline_run

from callbacks import BatchSizeScaling
from lightning_edge.systems.scaling_run import read_run
from recipes import batch_size_scaling
from recipes._jobs import Job, run_jobs
from recipes._scaling_plan import PlannedRun, Setting, Sweep, check, largest_divisor, read_plan
from recipes._scaling_report import recommend, remarks
from recipes._scaling_results import read_results, read_runs

OVERRIDES = [
    "--model.net.model=ode_resnet4",
    "--model.net.model_options={}",
    "--data.num_samples=[80,20]",
    "--data.num_workers=0",
    "--trainer.logger=[{'class_path':'CSVLogger','init_args':{'save_dir':'runs','name':'x'}}]",
    "--trainer.log_every_n_steps=1",
]
FOLDER = Path("runs/batch_size_scaling")


def call(*arguments, overrides=(), recipe="shift"):
    return [
        "sweep",
        f"--recipe={recipe}",
        "--config=null",
        f"--overrides={[*OVERRIDES, *overrides]}",
        "--every_n_examples=8",
        "--num_samples=10",
        "--window=1",
        "--max_examples=96",
        "--base_lr=0.01",
        *arguments,
    ]


def small_plan(**changes):
    values = {
        "recipe": "shift",
        "config": None,
        "overrides": (),
        "base_size": 64,
        "base_lr": 0.1,
        "lars_lr": 2.0,
        "weight_decay": 5e-4,
        "target": None,
        "split": "train",
        "max_examples": 10_000,
        "warmup": 0.1,
        "every_n_examples": 100,
        "num_samples": 10,
        "window": 3,
        "micro_batch_size": 256,
        "sizes": (16, 64, 1024),
        "rules": ("fixed", "linear", "sqrt"),
        "tuned_lrs": (),
        "num_seeds": 2,
        "fractions": (1.0,),
    }
    return Sweep(**{**values, **changes})


def test_rules_scale_the_rate_and_share_runs_where_they_agree():
    plan = small_plan(rules=("fixed", "linear", "sqrt", "lars", "tuned"), tuned_lrs=(0.1, 0.3))
    assert plan.settings("fixed", 1024) == [Setting(0.1)]
    assert plan.settings("linear", 1024) == [Setting(1.6, warms_up=True)]
    assert plan.settings("linear", 16) == [Setting(0.025)]
    assert plan.settings("sqrt", 1024) == [Setting(pytest.approx(0.4))]
    assert plan.settings("lars", 1024) == [Setting(32.0, warms_up=True, by_lars=True)]
    tuned = [Setting(0.1), Setting(1.6, warms_up=True), Setting(pytest.approx(0.4)), Setting(0.3)]
    assert plan.settings("tuned", 1024) == tuned  # those of the other rules, too, but for LARS
    at_base = {run.setting for run in plan.runs() if run.size == 64}
    assert at_base == {Setting(0.1), Setting(2.0, by_lars=True), Setting(0.3)}  # of five rules
    assert plan.runs()[0].size == 1024  # what is too large shows at once


def test_a_run_is_told_its_batch_its_rate_and_its_length():
    plan = small_plan(sizes=(1000,), fractions=(0.5,))
    run = PlannedRun(0.5, 1000, Setting(1.6, warms_up=True), 1)
    arguments = plan.job(run, Path("here")).arguments
    assert {
        "--data.batch_size=250",
        "--trainer.accumulate_grad_batches=4",
        "--data.train_fraction=0.5",
        "--trainer.max_steps=10",
        "--model.optimizer.lr=1.6",
        "--model.schedule.power=0",
        "--model.schedule.warmup=0.1",
        "--seed_everything=1",
        "--data.seed=1",
    } <= set(arguments)
    assert plan.job(run, Path("here")).folder == Path("here/fraction_0.5/size_1000/lr_1.6_warmup/seed_1")
    assert [largest_divisor(*pair) for pair in ((64, 256), (1000, 256), (257, 256))] == [64, 250, 1]


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
        assert run.facts.batch_size == planned.size
        assert run.facts.learning_rate == pytest.approx(planned.setting.learning_rate)
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
    found = read_results(folder)
    for row in rows:
        runs = read_runs(read_plan(folder), folder)
        steps = [
            max(1, run.hit(found.target, "train"))
            for planned, run in runs.items()
            if planned.size == int(row["batch_size"])
            and planned.setting in found.plan.settings(row["rule"], planned.size)
        ]
        assert float(row["steps"]) == pytest.approx(np.median(steps))
        assert row["num_runs"] == "2"
    assert imread(folder / "scaling.png").shape[1] == 1680
    assert metrics["target"] == pytest.approx(found.target)
    assert {"fixed_critical_by_cost", "linear_critical_by_fit", "num_missing"} <= metrics.keys()


def test_other_targets_are_read_off_the_same_runs(finished):
    folder, _ = finished
    easy = read_results(folder, target=2.35)
    assert easy.target == 2.35
    assert easy.choice is not None
    text = recommend(easy)
    assert text.startswith(f"Train with a batch of {easy.choice.point.batch_size} at a learning rate of")
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
    found = batch_size_scaling.main(["analyse", f"--folder={folder}", "--wandb=true"]).metrics
    run = read_offline_run(folder)
    assert run.summary["target"] == pytest.approx(found["target"])
    assert run.summary["scaling/table/nrows"] == 4
    assert len(list(run.files.rglob("*.png"))) == 1
    assert "`wandb sync " in caplog.text


def test_a_stopped_sweep_goes_on_and_loses_nothing(finished, tmp_path):
    arguments = call("--sizes=[4,16]", "--rules=['fixed']", f"--folder={tmp_path}/sweep")
    whole = batch_size_scaling.main(arguments).metrics
    runs = sorted((tmp_path / "sweep").rglob("done.json"))
    kept, lost = runs[0], runs[1]
    before = kept.stat().st_mtime_ns
    lost.unlink()  # as if it had been killed near its end
    losses = read_run(lost.parent).columns["train_loss"]
    assert batch_size_scaling.main(arguments).metrics == whole
    assert kept.stat().st_mtime_ns == before
    np.testing.assert_array_equal(read_run(lost.parent).columns["train_loss"], losses)
    more = call("--sizes=[4,16,24]", "--rules=['fixed']", f"--folder={tmp_path}/sweep")
    batch_size_scaling.main(more)
    assert kept.stat().st_mtime_ns == before
    assert len(sorted((tmp_path / "sweep").rglob("done.json"))) == 3


def test_a_sweep_of_another_kind_is_refused_in_a_folder_that_has_one(finished):
    folder, _ = finished
    before = (folder / "sweep.json").read_text()
    with pytest.raises(
        ValueError, match="to hold a sweep with max_examples 48, got one with 96: choose another folder"
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
    found = batch_size_scaling.main(["analyse", f"--folder={copy}"]).metrics
    assert found["num_missing"] == 3
    assert "3 runs have not finished and are left out." in capsys.readouterr().out


def test_a_rate_that_diverges_is_a_finding_and_no_failure(tmp_path, capsys):
    arguments = call("--sizes=[4,16]", "--rules=['tuned']", "--tuned_lrs=[0.01,1e30]", f"--folder={tmp_path}/sweep")
    batch_size_scaling.main(arguments)
    runs = read_runs(read_plan(tmp_path / "sweep"), tmp_path / "sweep")
    outcomes = {planned.setting.learning_rate: run.facts.outcome for planned, run in runs.items()}
    assert outcomes == {0.01: "budget", 1e30: "diverged"}
    assert "diverged at step" in capsys.readouterr().err
    found = read_results(tmp_path / "sweep")
    assert [point.learning_rate for point in found.whole["tuned"].points] == [0.01, 0.01]


def test_a_batch_larger_than_the_data_is_named_before_anything_runs(tmp_path):
    arguments = call("--sizes=[4,512]", "--max_examples=512", f"--folder={tmp_path}/sweep", "--micro_batch_size=64")
    message = r"accumulate_grad_batches \(512\) of at most the number of training samples \(70\)"
    with pytest.raises(ValueError, match=message):
        batch_size_scaling.main(arguments)
    assert not list((tmp_path / "sweep").rglob("done.json"))
    fewer = call("--sizes=[64]", "--max_examples=512", f"--folder={tmp_path}/sweep", "--micro_batch_size=64")
    batch_size_scaling.main(fewer)  # the folder is not lost


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sizes": ()}, "expected sizes from 1, got"),
        ({"sizes": (4, 4)}, r"expected sizes that differ, got \(4, 4\)"),
        ({"rules": ("quick",)}, r"expected rules among \['fixed', .* got \['quick'\]"),
        ({"rules": ()}, "expected rules among .*got none"),
        ({"rules": ("tuned",)}, "expected tuned_lrs or other rules for the rule tuned"),
        ({"num_seeds": 0}, "num_seeds of at least 1, got 0"),
        ({"fractions": (0.0,)}, r"fractions within \(0, 1\], got \(0.0,\)"),
        ({"max_examples": 100}, r"sizes of at most max_examples \(100\), got 1024"),
        ({"rules": ("fixed", "fixed")}, "expected rules that differ"),
        ({"tuned_lrs": (-0.1,)}, "tuned_lrs above 0"),
        ({"warmup": 1.0}, r"warmup within \[0, 1\), got 1.0"),
        ({"sizes": (257,)}, r"multiples of at least half of it, got 257, whose largest part is 1"),
        ({"overrides": ("--trainer.devices=2",)}, r"to the sweep, got \['--trainer.devices=2'\]"),
        ({"overrides": ("--model.optimizer.lr=1",)}, r"to the sweep, got \['--model.optimizer.lr=1'\]"),
    ],
)
def test_mistakes_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        check(small_plan(**changes))


def test_a_folder_without_a_sweep_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"expected folder to hold a sweep, with sweep.json"):
        batch_size_scaling.main(["analyse", f"--folder={tmp_path}"])
    (tmp_path / "sweep.json").write_text('{"recipe": "shi')
    with pytest.raises(ValueError, match=r"sweep.json as sweep writes it"):
        batch_size_scaling.main(["analyse", f"--folder={tmp_path}"])


def losses_below(folder):
    return {str(path): read_run(folder / path).columns["train_loss"] for path in planned_paths(folder)}


def planned_paths(folder):
    return [run.path for run in read_plan(folder).runs()]


def test_ray_gives_the_same_runs_though_a_worker_is_killed(tmp_path, monkeypatch):
    pytest.importorskip("ray")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        common = ["--sizes=[4,16]", "--rules=['fixed']"]
        batch_size_scaling.main(call(*common, f"--folder={tmp_path}/here"))
        monkeypatch.setenv("FRAGILE", "size_16")
        spread = call(*common, f"--folder={tmp_path}/spread", "--on=ray", recipe="outside.fragile")
        batch_size_scaling.main(spread)
    finally:
        torch.set_num_threads(threads)
    assert (tmp_path / "spread/fraction_1/size_16/lr_0.01/was_killed").exists()
    expected, found = losses_below(tmp_path / "here"), losses_below(tmp_path / "spread")
    assert found.keys() == expected.keys()
    for name, losses in expected.items():
        np.testing.assert_array_equal(found[name], losses)


def test_without_ray_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(ImportError, match=r"pip install lightning-edge\[ray\]"):
        next(run_jobs([Job("shift", (), tmp_path)], on="ray"))


def test_a_run_with_a_target_ends_there(tmp_path, capsys):
    arguments = call("--sizes=[16]", "--rules=['fixed']", f"--folder={tmp_path}/sweep")
    batch_size_scaling.main([*arguments, "--target=2.36"])
    (planned,) = read_plan(tmp_path / "sweep").runs()
    run = read_run(tmp_path / "sweep" / planned.path)
    assert run.facts.outcome == "reached"
    assert run.num_steps < 6
    assert math.isfinite(run.hit(2.36, "train"))
    assert ": 2.36 at step " in capsys.readouterr().err
    with pytest.raises(ValueError, match=r"expected target of at least that at which the runs ended \(2.36\), got 2"):
        batch_size_scaling.main(["analyse", f"--folder={tmp_path}/sweep", "--target=2"])
    with pytest.raises(ValueError, match=r"expected target below the train loss that training begins with"):
        batch_size_scaling.main(["analyse", f"--folder={tmp_path}/sweep", "--target=2.5"])


def test_a_target_that_is_met_from_the_start_is_refused(tmp_path):
    arguments = call("--sizes=[16]", "--rules=['fixed']", f"--folder={tmp_path}/sweep", "--target=3")
    with pytest.raises(ValueError, match="expected target below the train loss at the start"):
        batch_size_scaling.main(arguments)
    assert not list((tmp_path / "sweep").rglob("done.json"))


@pytest.mark.parametrize("is_cut_short", [False, True], ids=["whole_checkpoint", "cut_short"])
def test_a_killed_run_of_accumulated_batches_ends_as_if_it_had_not_been(tmp_path, monkeypatch, is_cut_short):
    common = ("--sizes=[16]", "--rules=['fixed']", "--micro_batch_size=4")
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
    (expected,), (found,) = (losses_below(tmp_path / name).values() for name in ("whole", "parts"))
    assert len(expected) == 7
    np.testing.assert_array_equal(found, expected)


def test_ctrl_c_ends_a_sweep_and_tells_how_to_go_on(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(BatchSizeScaling, "on_train_batch_end", lambda *args: signal.raise_signal(signal.SIGINT))
    with pytest.raises(SystemExit, match="130"):
        batch_size_scaling.main(call("--sizes=[16]", "--rules=['fixed']", f"--folder={tmp_path}/sweep"))
    assert "Interrupted after 0 of 1 runs; to go on, repeat the command." in capsys.readouterr().err
