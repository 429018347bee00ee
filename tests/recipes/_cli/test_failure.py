"""What a person reads when a run was given something wrong."""

import re
import sys
import warnings
from pathlib import Path

import cv2
import numpy as np
import pytest
from outside import tiny

from recipes import accel, segmentation
from recipes._cli.failure import explain_failure

NO_LOGGER = "--trainer.logger=false"


@pytest.fixture
def as_a_person(monkeypatch, capsys):
    """Run a recipe as from a terminal; gives what it wrote to standard error and its exit code."""

    def run(main, *args):
        monkeypatch.setattr(sys, "argv", ["a recipe", *args])
        with pytest.raises(SystemExit) as stop:
            main()
        return capsys.readouterr().err, stop.value.code

    return run


def test_a_person_reads_what_was_wrong_without_a_traceback(as_a_person):
    written, code = as_a_person(accel.main, "fit", "--data.root=nowhere")
    assert code == 1
    [first, second] = [line for line in written.splitlines() if "rror" in line or "TRACEBACK" in line]
    assert first.startswith("error: There are no masks")
    assert "got nowhere" in first
    assert second == "Set LIGHTNING_EDGE_TRACEBACK=1 to see the traceback."
    assert list(Path("runs/accel").iterdir()) == []  # a run that never began leaves no folder


def test_a_person_reads_what_was_wrong_in_a_worker(as_a_person):
    Path("images").mkdir()
    for number in range(3):
        cv2.imwrite(f"images/{number}.png", np.zeros((64, 96, 3), np.uint8))
    Path("images/3.png").write_bytes(b"no image")
    arguments = ["--data=FramesDataModule", "--data.source=images", "--data.num_workers=1"]
    written, code = as_a_person(segmentation.main, "predict", *arguments, NO_LOGGER)
    assert code == 1
    assert "\nerror: images/3.png: cannot be decoded" in f"\n{written}"
    assert "Traceback" not in written


@pytest.mark.parametrize(
    ("error", "message"), [(ImportError("needs more"), "needs more"), (ImportError("no name", name="x"), None)]
)
def test_a_missing_extra_is_told_and_any_other_import_keeps_its_traceback(error, message):
    with pytest.raises(ImportError) as raised:
        exec(compile("raise error", accel.__file__, "exec"), {"error": error})
    assert explain_failure(raised.value) == message


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            OSError(28, "No space left on device"),
            r"No space left on device\. Free some disk space.* --trainer\.default",
        ),
        (OSError(28, "No space left on device", "a/b"), r"a/b: No space left on device\. Free some disk space"),
        (OSError(122, "Disk quota exceeded"), r"Disk quota exceeded\. Free some disk space"),
        (OSError(30, "Read-only file system", "a/b"), r"a/b: Read-only file system\. .*--trainer\.default_root_dir"),
        (PermissionError(13, "Permission denied", "a/b"), r"a/b: Permission denied$"),
        (OSError(40, "Too many levels of symbolic links", "a/b"), r"a/b: Too many levels of symbolic links$"),
        (IsADirectoryError(21, "Is a directory", "a/b"), r"a/b: Is a directory$"),
    ],
    ids=repr,
)
def test_what_the_system_refuses_is_told_in_one_line(error, message, as_a_person, monkeypatch):
    def refuse(method, batch, batch_idx):
        raise error

    monkeypatch.setattr("outside.parts.TinyMethod.validation_step", refuse)
    written, code = as_a_person(tiny.main, "validate", NO_LOGGER)
    [line] = [line for line in written.splitlines() if line.startswith("error: ")]
    assert re.match(f"error: {message}", line)
    assert code == 1
    assert "Traceback" not in written


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--trainer.accelerator=gpux", "You selected an invalid accelerator name"),
        ("--trainer.strategy=fsdp", "The strategy `fsdp` requires a GPU accelerator"),
        ("--trainer.val_check_interval=1000", "`val_check_interval` (1000) must be less than or equal to"),
        ("--seed_everything=-3", "-3 is not in bounds"),
        ("--trainer.num_nodes=0", "expected trainer.num_nodes of at least 1, got 0"),
        ("--trainer.accumulate_grad_batches=0", "expected trainer.accumulate_grad_batches of at least 1, got 0"),
        ("--trainer.check_val_every_n_epoch=0", "expected trainer.check_val_every_n_epoch of at least 1, got 0"),
        ("--trainer.val_check_interval=0", "expected trainer.val_check_interval of at least 1, got 0"),
    ],
)
def test_what_no_trainer_takes_is_told_in_one_line(argument, message, as_a_person):
    written, code = as_a_person(tiny.main, "fit", NO_LOGGER, argument)
    assert code == 1
    assert f"\nerror: {message}" in f"\n{written}"
    assert "Traceback" not in written


def test_who_interrupts_the_imports_reads_one_line(as_a_person, monkeypatch):
    class Interrupted:
        def find_spec(self, name, *args):
            if name == "recipes._cli.parser":
                raise KeyboardInterrupt

    monkeypatch.delitem(sys.modules, "recipes._cli.parser")
    monkeypatch.setattr(sys, "meta_path", [Interrupted(), *sys.meta_path])
    assert as_a_person(tiny.main, "fit") == ("\nInterrupted before the run started.\n", 130)


def test_an_error_of_the_system_without_a_file_keeps_its_traceback():
    with pytest.raises(ConnectionResetError) as raised:
        raise ConnectionResetError(104, "Connection reset by peer")
    assert explain_failure(raised.value) is None


def test_the_traceback_can_be_had(monkeypatch):
    monkeypatch.setenv("LIGHTNING_EDGE_TRACEBACK", "1")
    monkeypatch.setattr(sys, "argv", ["a recipe", "fit", "--data.root=nowhere"])
    with pytest.raises(FileNotFoundError, match="got nowhere"):
        accel.main()


def test_an_error_that_nobody_foresaw_keeps_its_traceback(monkeypatch):
    monkeypatch.setattr("outside.parts.TinyNet.forward", lambda self, inputs: [][0])
    monkeypatch.setattr(sys, "argv", ["a recipe", "fit"])
    with pytest.raises(IndexError):
        tiny.main()


def test_a_checkpoint_that_is_none_is_named(tmp_path):
    tiny.main(["fit", "--trainer.max_epochs=1"])
    checkpoint = Path("runs/tiny/version_0/checkpoints/last.ckpt")
    with pytest.raises(FileNotFoundError, match=rf"got nope.ckpt, .*the newest one in runs/tiny is {checkpoint}"):
        tiny.main(["test", "--ckpt_path=nope.ckpt"])
    Path("cut.ckpt").write_bytes(checkpoint.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"got cut.ckpt, which is damaged or truncated"):
        tiny.main(["test", "--ckpt_path=cut.ckpt"])
    assert [path.name for path in Path("runs/tiny").iterdir()] == ["version_0"]


def test_weights_of_another_net_are_refused_in_one_sentence():
    tiny.main(["fit", "--trainer.max_epochs=1", "--model.net=outside.parts.OtherNet", "--model.net.width=1"])
    run, other = Path("runs/tiny/version_0"), ["--model.net=outside.parts.TinyNet"]
    with pytest.raises(
        ValueError, match=r"got those of another .*net\.hidden.*use -c runs/tiny/version_0/config\.yaml to configure"
    ) as why:
        tiny.main(["validate", NO_LOGGER, f"--ckpt_path={run / 'checkpoints/last.ckpt'}", *other])
    assert "\n" not in str(why.value)
    same = tiny.main(
        ["validate", NO_LOGGER, f"--ckpt_path={run / 'checkpoints/last.ckpt'}", "-c", f"{run}/config.yaml"]
    )
    assert same.config.validate.ckpt_path is not None


def test_a_warning_at_the_terminal_has_no_place_in_the_code(monkeypatch):
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)
    monkeypatch.setattr(sys, "argv", ["tiny.py", "validate", "--trainer.logger=false"])
    with pytest.warns(UserWarning, match="No --ckpt_path given"):
        tiny.main()
    shown = warnings.formatwarning("No --ckpt_path given.", UserWarning, "file.py", 3, "code()")
    assert shown == "UserWarning: No --ckpt_path given.\n"


def test_only_the_command_that_needs_an_extra_asks_for_it(monkeypatch):
    for name in [
        name for name in sys.modules if name.startswith(("recipes.accel.export", "lightning_edge.systems.onnx"))
    ]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)  # as in an installation without the extra
    with pytest.raises(SystemExit) as stop:
        accel.main(["fit", "--print_config"])
    assert stop.value.code == 0
    with pytest.raises(ImportError, match='ONNX needs the extra "export"'):
        accel.main(["export"])
