"""One process to the folder of a run."""

import os
import signal
import time
from pathlib import Path

import pytest
from outside import tiny

from recipes import run_config
from recipes._cli.run_lock import LOCK, RunLock

RUN = Path("runs/tiny/version_0")
LAST = RUN / "checkpoints/last.ckpt"
REFUSED = "Another process is already running in "
FIT = ["fit", "--trainer.max_epochs=1"]


def test_a_folder_at_work_takes_no_second_training_but_is_evaluated():
    tiny.main(FIT)
    before = (RUN / "metrics.csv").read_bytes()
    lock = RunLock(RUN)
    fixed = [*FIT, "--trainer.logger=CSVLogger", "--trainer.logger.save_dir=runs", "--trainer.logger.name=tiny"]
    for arguments in ([*FIT, f"--ckpt_path={LAST}"], [*fixed, "--trainer.logger.version=0"]):
        with pytest.raises(ValueError, match=f"{REFUSED}runs/tiny/version_0\\.") as refused:
            tiny.main(arguments)
        assert "\n" not in str(refused.value)
    for command in ("validate", "test", "predict"):
        tiny.main([command, f"--ckpt_path={LAST}"])
    lock.release()
    assert (RUN / "metrics.csv").read_bytes() == before
    assert {path.name for path in Path("runs/tiny").iterdir()} == {f"version_{number}" for number in range(4)}
    tiny.main(["fit", "--trainer.max_epochs=2", f"--ckpt_path={LAST}"])
    assert not (RUN / LOCK).exists()


def test_a_training_holds_its_folder(monkeypatch):
    def start_again(module, *args):
        with pytest.raises(ValueError, match=f"{REFUSED}root"):
            tiny.main(arguments)
        refused.append(arguments)

    refused = []
    monkeypatch.setattr("outside.parts.TinyMethod.on_train_start", start_again)
    fixed = ["--trainer.logger=CSVLogger", "--trainer.logger.save_dir=root", "--trainer.logger.version=7"]
    for options in (fixed, ["--trainer.logger=false", "--trainer.default_root_dir=root"]):
        arguments = [*FIT, *options]
        tiny.main(arguments)
    assert len(refused) == 2


def test_the_system_gives_back_the_folder_of_a_killed_process(tmp_path):
    read, write = os.pipe()
    process = os.fork()
    if process == 0:
        try:
            lock = RunLock(tmp_path)
            os.write(write, b"held")
            time.sleep(60)
            lock.release()
        finally:
            os._exit(1)
    assert os.read(read, 4) == b"held"
    with pytest.raises(ValueError, match=REFUSED):
        run_config("outside.tiny", FIT[1:], tmp_path)
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    assert (tmp_path / LOCK).exists()
    RunLock(tmp_path).release()
    assert list(tmp_path.iterdir()) == []


def test_a_lock_is_given_back_when_a_run_fails(monkeypatch):
    monkeypatch.setattr("outside.parts.TinyMethod.on_train_start", lambda module: [][0])
    for _ in range(2):
        with pytest.raises(IndexError):
            tiny.main([*FIT, "--trainer.default_root_dir=root", "--trainer.logger=false"])


@pytest.mark.parametrize("made", ["run_config", "recipe", "no_logger"])
def test_a_folder_that_cannot_be_written_is_named_with_the_option_to_change(made, tmp_path):
    (tmp_path / "file").touch()  # which no rights of the administrator turn into a folder
    runs = {
        "run_config": lambda: run_config("outside.tiny", FIT[1:], tmp_path / "file/run"),
        "recipe": lambda: tiny.main([*FIT, f"--trainer.default_root_dir={tmp_path}/file"]),
        "no_logger": lambda: tiny.main([*FIT, "--trainer.logger=false", f"--trainer.default_root_dir={tmp_path}/file"]),
    }
    with pytest.raises(OSError, match=r"cannot write to its folder .*/file.*--trainer\.default_root_dir") as refused:
        runs[made]()
    assert "\n" not in str(refused.value)
