import json
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from lightning_edge.methods import Classification
from recipes import run_config, shift

RECIPE = "outside.tiny"


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    (tmp_path / "current").mkdir()
    monkeypatch.chdir(tmp_path / "current")
    monkeypatch.setenv("WANDB_MODE", "disabled")


def test_a_run_returns_its_metrics_and_writes_under_its_folder_only(tmp_path):
    metrics = run_config(RECIPE, ["--trainer.max_epochs=1"], tmp_path / "run")
    assert set(metrics) == {"train/loss", "val/loss"}
    assert json.loads((tmp_path / "run/done.json").read_text()) == metrics
    assert (tmp_path / "run/version_0/metrics.csv").is_file()
    assert list((tmp_path / "current").iterdir()) == []


def test_a_mapping_is_the_same_as_arguments(tmp_path):
    by_name = {"config": "tiny_long.yaml", "trainer.max_epochs": 1, "model.scale": 2.0, "trainer.logger": False}
    arguments = ["--config=tiny_long.yaml", "--trainer.max_epochs=1", "--model.scale=2.0", "--trainer.logger=false"]
    assert run_config(RECIPE, by_name, tmp_path / "one") == run_config(RECIPE, arguments, tmp_path / "two")


def test_a_finished_folder_returns_at_once(tmp_path):
    run_config(RECIPE, ["--trainer.max_epochs=1"], tmp_path)
    (tmp_path / "done.json").write_text('{"val/loss": 0.5}')
    assert run_config(RECIPE, ["--trainer.max_epochs=1"], tmp_path) == {"val/loss": 0.5}


def test_a_folder_of_another_run_is_refused(tmp_path):
    run_config(RECIPE, ["--trainer.max_epochs=1"], tmp_path)
    with pytest.raises(ValueError, match="max_epochs=2"):
        run_config(RECIPE, ["--trainer.max_epochs=2"], tmp_path)


def test_a_run_that_never_began_leaves_room_for_another(tmp_path):
    with pytest.raises(SystemExit):
        run_config(RECIPE, ["--trainer.max_epoch=1"], tmp_path / "run")
    with pytest.raises(ModuleNotFoundError):
        run_config("outside.tine", ["--trainer.max_epochs=1"], tmp_path / "run")
    assert "val/loss" in run_config(RECIPE, ["--trainer.max_epochs=1"], tmp_path / "run")


def test_an_unfinished_run_goes_on_from_its_last_checkpoint(tmp_path, monkeypatch):
    overrides = {"trainer.max_epochs": 3}
    whole = run_config(RECIPE, overrides, tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr("outside.parts.TinyMethod.on_train_batch_start", _crash_at_step_6)
        with pytest.raises(RuntimeError, match="crash"):
            run_config(RECIPE, overrides, tmp_path / "torn")
    assert not (tmp_path / "torn/done.json").exists()
    assert run_config(RECIPE, overrides, tmp_path / "torn") == whole
    tables = [(tmp_path / run / "version_0/metrics.csv").read_text() for run in ("torn", "whole")]
    assert tables[0] == tables[1]


def _crash_at_step_6(module, *args):
    if module.global_step == 6:
        raise RuntimeError("crash")


def test_a_run_that_another_process_is_at_is_refused(tmp_path, monkeypatch):
    def run_again(module, *args):
        (tmp_path / "done.json").write_text('{"val/loss": 0.5}')  # whoever waits must look again
        with pytest.raises(ValueError, match="to have no run at work, got one of another process"):
            run_config(RECIPE, ["--trainer.max_epochs=1"], tmp_path)
        refused.append(module.global_step)

    refused = []
    monkeypatch.setattr("outside.parts.TinyMethod.on_train_batch_start", run_again)
    assert "val/loss" in run_config(RECIPE, ["--trainer.max_epochs=1"], tmp_path)
    assert refused
    assert not (tmp_path / "run.lock").exists()


def test_a_command_is_told_the_folder(tmp_path):
    assert run_config(RECIPE, {"budget": 3}, tmp_path, command="search") == {"budget": 3.0}


def test_a_run_works_in_a_spawned_process(tmp_path):
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        there = pool.submit(run_config, RECIPE, {"trainer.max_epochs": 1}, tmp_path / "there").result()
    assert there == run_config(RECIPE, {"trainer.max_epochs": 1}, tmp_path / "here")


def test_who_interrupts_is_told_how_to_go_on(monkeypatch, caplog):
    def stop_in_the_second_epoch(method):
        if method.current_epoch == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(Classification, "on_train_epoch_start", stop_in_the_second_epoch)
    small = ["--data.num_samples=[20,10]", "--data.batch_size=4", "--data.num_workers=0", "--trainer.max_epochs=2"]
    quiet = ["--trainer.enable_progress_bar=false", "--trainer.limit_train_batches=1", "--trainer.limit_val_batches=1"]
    with pytest.raises(SystemExit, match="130"):
        shift.main(["fit", *small, *quiet])
    checkpoint = next(Path("runs").rglob("last.ckpt"))
    assert f"to go on, repeat the command with --ckpt_path {checkpoint}" in caplog.text
    caplog.clear()
    with pytest.raises(SystemExit, match="130"):
        run_config("shift", [*small, *quiet], "series/a_run")
    assert caplog.messages[-1].endswith("to go on, repeat the command")  # which finds the checkpoint in its folder
