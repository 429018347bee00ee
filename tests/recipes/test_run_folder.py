"""Runs that are interrupted, and those that go on from them."""

import signal
from pathlib import Path

import pytest
from outside import tiny


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
