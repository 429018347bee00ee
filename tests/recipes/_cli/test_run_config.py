import json
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from lightning_edge.methods import Classification
from recipes import run_config, shift
from recipes._cli.overrides import as_arguments
from recipes._cli.run_record import metrics_of_finished

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


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (3, "3"), (True, "true"), (None, "null"), (1e-5, "1e-05"), ("a b", "a b"), ("null", "null"),
        (np.int64(3), "3"), (np.arange(5)[2], "2"), (np.float32(0.5), "0.5"), (np.bool_(True), "true"),
        (np.array([4]), "4"), (np.str_("name"), "name"), (torch.tensor(3), "3"), (torch.tensor([0.5]), "0.5"),
        (torch.nn.Parameter(torch.tensor(2.0)), "2.0"), (Path("a/b"), "a/b"),
        ([np.int64(1), Path("c"), "d"], '[1, "c", "d"]'), ((1, 2), "[1, 2]"), (torch.Size([2, 3]), "[2, 3]"),
        ({"lr": np.float64(0.1), "of": {"x": [True]}}, '{"lr": 0.1, "of": {"x": [true]}}'),
        (float("inf"), ".inf"), (-np.inf, "-.inf"), (np.float32("nan"), ".nan"), ([float("inf"), 1], "[.inf, 1]"),
    ],
)  # fmt: skip
def test_values_of_python_are_written_as_the_command_line_reads_them(value, text):
    assert as_arguments({"model.scale": value}) == [f"--model.scale={text}"]


@pytest.mark.parametrize("value", [{1, 2}, object(), np.arange(3), torch.zeros(2, 2), 1j, b"x", [object()], {"a": {2}}])
def test_a_value_that_no_command_line_can_take_is_named(value, tmp_path):
    with pytest.raises(ValueError, match=r"expected model\.scale as a number, a string, a path, .*, got ") as refused:
        run_config(RECIPE, {"trainer.max_epochs": 1, "model.scale": value}, tmp_path / "run")
    assert "\n" not in str(refused.value)[:100]
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("overrides", ["--trainer.max_epochs=1", [1], {1: 2}, [None]])
def test_overrides_of_another_kind_are_refused(overrides, tmp_path):
    with pytest.raises(ValueError, match=r"expected (overrides|names of arguments) as"):
        run_config(RECIPE, overrides, tmp_path / "run")


def test_values_of_numpy_and_paths_arrive(tmp_path):
    (tmp_path / "more.yaml").write_text("model: {init_args: {scale: 2.0}}")
    values = {"config": tmp_path / "more.yaml", "trainer.max_epochs": np.int64(1), "trainer.logger": np.bool_(False)}
    more = {"trainer.gradient_clip_val": float("inf"), "data.count": torch.tensor(6)}
    run_config(RECIPE, {**values, **more}, tmp_path / "run")
    assert torch.load(next((tmp_path / "run").rglob("last.ckpt")), weights_only=True)["hyper_parameters"]["scale"] == 2
    assert torch.load(next((tmp_path / "run").rglob("last.ckpt")), weights_only=True)["global_step"] == 3


DAMAGED = [b"", b'{"val/loss": 0.', b"\xff\xfe\0", b"[" * 100_000, b"[1]", b"null", b'{"a": ' + b"9" * 5000 + b"}"]


@pytest.mark.parametrize("content", DAMAGED, ids=range(len(DAMAGED)))
def test_a_damaged_run_json_is_named(content, tmp_path):
    (tmp_path / "run.json").write_bytes(content)
    with pytest.raises(
        ValueError, match=rf"^{tmp_path}/run\.json is damaged, .* Delete the file if the folder belongs to the run \{{"
    ):
        run_config(RECIPE, ["--trainer.max_epochs=1"], tmp_path)


@pytest.mark.parametrize("content", [*DAMAGED, b'{"val/loss": "text"}'], ids=range(len(DAMAGED) + 1))
def test_a_damaged_done_json_is_none(content, tmp_path):
    (tmp_path / "done.json").write_bytes(content)
    with pytest.warns(
        UserWarning, match=rf"{tmp_path}/done\.json is damaged; the run is treated as unfinished and continues"
    ):
        assert metrics_of_finished(tmp_path) is None


@pytest.mark.parametrize("name", ["run.json", "done.json"])
def test_what_is_no_file_is_no_record(name, tmp_path):
    os.mkfifo(tmp_path / name)
    if name == "run.json":
        with pytest.raises(ValueError, match=r"run\.json is damaged, so it is not known which run"):
            run_config(RECIPE, ["--trainer.max_epochs=1"], tmp_path)
    else:
        with pytest.warns(UserWarning, match=r"done\.json is damaged"):
            assert metrics_of_finished(tmp_path) is None


def test_a_folder_in_the_place_of_done_json_is_refused_before_the_run(tmp_path):
    (tmp_path / "done.json").mkdir()
    with pytest.raises(ValueError, match=r"done\.json to be the file that a finished run writes, got a folder"):
        run_config(RECIPE, ["--trainer.max_epochs=1"], tmp_path)
    assert not (tmp_path / "version_0").exists()


def test_a_finished_run_with_a_damaged_done_json_gives_its_metrics_again(tmp_path):
    metrics = run_config(RECIPE, ["--trainer.max_epochs=2"], tmp_path)
    (tmp_path / "done.json").write_text("{")
    with pytest.warns(UserWarning, match="is damaged"):
        assert run_config(RECIPE, ["--trainer.max_epochs=2"], tmp_path) == metrics
    assert json.loads((tmp_path / "done.json").read_text()) == metrics


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
        with pytest.raises(ValueError, match="Another process is already running in "):
            run_config(RECIPE, ["--trainer.max_epochs=1"], tmp_path)
        refused.append(module.global_step)

    refused = []
    monkeypatch.setattr("outside.parts.TinyMethod.on_train_batch_start", run_again)
    assert "val/loss" in run_config(RECIPE, ["--trainer.max_epochs=1"], tmp_path)
    assert refused
    assert not (tmp_path / "run.lock").exists()


def test_a_command_is_given_the_folder(tmp_path):
    assert run_config(RECIPE, {"budget": 3}, tmp_path, command="search") == {"budget": 3.0}


@pytest.mark.slow
def test_a_run_works_in_a_spawned_process(tmp_path):
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        there = pool.submit(run_config, RECIPE, {"trainer.max_epochs": 1}, tmp_path / "there").result()
    assert there == run_config(RECIPE, {"trainer.max_epochs": 1}, tmp_path / "here")


def test_an_interruption_shows_how_to_resume(monkeypatch, caplog):
    def stop_in_the_second_epoch(method):
        if method.current_epoch == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(Classification, "on_train_epoch_start", stop_in_the_second_epoch)
    small = ["--data.num_samples=[20,10]", "--data.batch_size=4", "--data.num_workers=0", "--trainer.max_epochs=2"]
    quiet = ["--trainer.enable_progress_bar=false", "--trainer.limit_train_batches=1", "--trainer.limit_val_batches=1"]
    with pytest.raises(SystemExit, match="130"):
        shift.main(["fit", *small, *quiet])
    checkpoint = next(Path("runs").rglob("last.ckpt"))
    assert f"to resume, repeat the command with --ckpt_path {checkpoint}" in caplog.text
    caplog.clear()
    with pytest.raises(SystemExit, match="130"):
        run_config("shift", [*small, *quiet], "series/a_run")
    assert caplog.messages[-1].endswith("to resume, repeat the command")  # which finds the checkpoint in its folder
