"""Runs that are interrupted, and those that go on from them."""

import os
import signal
from pathlib import Path

import pytest
from outside import tiny

KILLED_WORKER = "DataLoader worker (pid 1) is killed by signal: Terminated. "


def test_a_resumed_run_goes_on_in_its_folder():
    previous = signal.getsignal(signal.SIGINT)
    whole = tiny.main(["fit", "--trainer.max_epochs=3", "--trainer.default_root_dir=whole"]).metrics
    torn = ["--trainer.max_epochs=3", "--trainer.callbacks+=outside.parts.CtrlC", "--trainer.callbacks.step=6"]
    try:
        with pytest.raises(SystemExit, match="130"):
            tiny.main(["fit", *torn])
    finally:
        signal.signal(signal.SIGINT, previous)
    checkpoint = Path("runs/tiny/version_0/checkpoints/last.ckpt")
    assert tiny.main(["fit", "--trainer.max_epochs=3", f"--ckpt_path={checkpoint}"]).metrics == whole
    assert [path.name for path in Path("runs/tiny").iterdir()] == ["version_0"]
    assert Path("runs/tiny/version_0/metrics.csv").read_text() == Path("whole/version_0/metrics.csv").read_text()


def test_a_folder_that_was_asked_for_comes_before_that_of_the_checkpoint():
    tiny.main(["fit", "--trainer.max_epochs=1"])
    before = Path("runs/tiny/version_0/metrics.csv").read_text()
    checkpoint = "--ckpt_path=runs/tiny/version_0/checkpoints/last.ckpt"
    tiny.main(["fit", "--trainer.max_epochs=2", checkpoint], folder=Path("asked").absolute())
    assert Path("asked/version_0/metrics.csv").is_file()
    assert Path("runs/tiny/version_0/metrics.csv").read_text() == before


def test_ctrl_c_says_where_the_run_is_and_how_to_resume(capsys, caplog):
    previous = signal.getsignal(signal.SIGINT)
    try:
        with pytest.raises(SystemExit, match="130"):
            tiny.main(["fit", "--trainer.callbacks+=outside.parts.CtrlC", "--trainer.callbacks.step=6"])
    finally:
        signal.signal(signal.SIGINT, previous)
    shown = caplog.text
    assert "The run is in runs/tiny/version_0" in shown
    assert "--ckpt_path runs/tiny/version_0/checkpoints/last.ckpt" in shown
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("step", "shown"), [(2, "before the run wrote any results."), (6, "is in runs/tiny/version_0;")]
)
def test_sigterm_ends_a_run_in_one_line_although_it_also_kills_the_workers(step, shown, monkeypatch, caplog, capsys):
    def terminate(module, *args):
        if module.global_step == step:
            os.kill(os.getpid(), signal.SIGTERM)
            raise RuntimeError(KILLED_WORKER)

    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setattr("outside.parts.TinyMethod.on_train_batch_start", terminate)
    with pytest.raises(SystemExit, match="143"):
        tiny.main(["fit", "--trainer.log_every_n_steps=50"])
    assert [shown in message for message in caplog.messages if "Interrupted" in message] == [True]
    written = caplog.text + capsys.readouterr().err
    assert KILLED_WORKER not in written
    # only a folder that is kept can be synchronized
    assert ("wandb sync" in written) is Path("runs/tiny/version_0").exists() is (step == 6)


def test_an_error_without_sigterm_is_raised(monkeypatch):
    def fail(module, *args):
        raise RuntimeError(KILLED_WORKER)

    monkeypatch.setattr("outside.parts.TinyMethod.on_train_batch_start", fail)
    with pytest.raises(RuntimeError, match="killed by signal"):
        tiny.main(["fit"])


def test_runs_without_a_logger_that_start_in_the_same_second_have_folders_of_their_own(monkeypatch):
    monkeypatch.setattr("recipes._cli.run_folder.time.strftime", lambda *args: "nologger_20260102-030405")
    folders = [tiny.main([command, "--trainer.logger=false"]).trainer.default_root_dir for command in ("fit",) * 2]
    assert folders == [f"lightning_logs/nologger_20260102-030405{end}" for end in ("", "_1")]
    assert all(Path(folder, "checkpoints/last.ckpt").is_file() for folder in folders)
    with pytest.raises(RuntimeError, match="negative dimension"):
        tiny.main(["fit", "--trainer.logger=false", "--data.count=-1"])
    assert sorted(map(str, Path("lightning_logs").iterdir())) == folders
