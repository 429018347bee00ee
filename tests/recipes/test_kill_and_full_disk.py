"""What a kill within a write, a full disk and damaged files leave of a run."""

import os
import resource
import shutil
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
from lightning.fabric.plugins.io import TorchCheckpointIO
from outside import tiny

from callbacks import AtomicCheckpointIO
from lightning_edge.atomic_files import remove_leftovers
from lightning_edge.checkpoints import last_checkpoint
from recipes import run_config

RUN = Path("runs/tiny/version_0")
LAST = RUN / "checkpoints/last.ckpt"
LEFTOVER = f".{'0a' * 16}.partial"
SHORT = ["fit", "--trainer.max_epochs=1"]

SMALL = [
    "--data.num_samples=[20,10]", "--data.batch_size=4", "--data.num_workers=0", "--trainer.max_epochs=2",
    "--trainer.limit_train_batches=2", "--trainer.limit_val_batches=1", "--trainer.enable_progress_bar=false",
    "--trainer.callbacks=[{'class_path':'ModelCheckpoint','init_args':{'filename':'last','every_n_epochs':1,"
    "'save_on_train_epoch_end':true,'enable_version_counter':false}}]",
]  # fmt: skip

KILLED = """
import resource, signal, sys
from pathlib import Path
from lightning_edge.methods import Classification
from recipes import run_config

def begin_epoch(method):
    if method.current_epoch == 1:
        (checkpoint,) = Path(sys.argv[1]).rglob("last.ckpt")
        size = checkpoint.stat().st_size // 2
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # kills within the write that would be longer
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

Classification.on_train_epoch_start = begin_epoch
run_config("shift", sys.argv[2:], sys.argv[1])
"""


def weights(path):
    return torch.load(path, weights_only=True)["state_dict"]


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="needs a second file system")
def test_a_kill_within_a_write_leaves_the_checkpoint_before_and_nothing_else(tmp_path):
    temporary = Path("/dev/shm", f"test_{os.getpid()}")
    temporary.mkdir()
    root = Path(__file__).parents[2]
    environment = {**os.environ, "TMPDIR": str(temporary), "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", KILLED, str(tmp_path / "killed"), *SMALL]
    try:
        ended = subprocess.run(command, env=environment, capture_output=True, timeout=300)
        assert ended.returncode == -signal.SIGXFSZ, ended.stderr.decode()
        assert [path for path in temporary.rglob("*") if path.is_file()] == []  # W&B leaves empty folders
    finally:
        shutil.rmtree(temporary)
    (checkpoint,) = (tmp_path / "killed").rglob("last.ckpt")
    assert torch.load(checkpoint, weights_only=True)["epoch"] == 0
    assert len(list(checkpoint.parent.iterdir())) == 2  # and half of the next one
    run_config("shift", SMALL, tmp_path / "killed")
    assert [path.name for path in checkpoint.parent.iterdir()] == ["last.ckpt"]
    run_config("shift", SMALL, tmp_path / "whole")
    (expected,) = (tmp_path / "whole").rglob("last.ckpt")
    for name, weight in weights(expected).items():
        torch.testing.assert_close(weights(checkpoint)[name], weight, rtol=0, atol=0)


def test_a_full_disk_leaves_the_checkpoint_before_and_says_what_to_do(monkeypatch, capsys):
    def fill(method):
        if method.current_epoch == 1:
            limits.append(resource.getrlimit(resource.RLIMIT_FSIZE))
            before.append(LAST.read_bytes())
            resource.setrlimit(resource.RLIMIT_FSIZE, (len(before[0]) // 2, limits[0][1]))

    limits, before = [], []
    monkeypatch.setattr("outside.parts.TinyMethod.on_train_epoch_start", fill)
    monkeypatch.setattr(sys, "argv", ["a recipe", "fit", "--trainer.logger=CSVLogger", *_IN_RUNS])
    try:
        with pytest.raises(SystemExit, match="1"):
            tiny.main()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits[0])
    written = capsys.readouterr().err
    assert "Traceback" not in written
    [line] = [line for line in written.splitlines() if line.startswith("error: ")]
    assert f"the checkpoint {RUN}/checkpoints/" in line
    assert "could not be written (File too large)" in line
    assert "--trainer.default_root_dir" in line
    assert LAST.read_bytes() == before[0]
    assert not list(Path("runs").rglob(".*.partial"))


_IN_RUNS = ["--trainer.logger.save_dir=runs", "--trainer.logger.name=tiny"]


def test_every_trainer_of_a_recipe_writes_so_unless_it_is_told_otherwise():
    def io_of(*arguments):
        return type(tiny.main(["validate", "--trainer.logger=false", *arguments]).trainer.strategy.checkpoint_io)

    environment = "--trainer.plugins=lightning.pytorch.plugins.environments.LightningEnvironment"
    assert io_of() is AtomicCheckpointIO
    assert io_of(environment) is AtomicCheckpointIO
    assert io_of("--trainer.plugins=lightning.pytorch.plugins.TorchCheckpointIO") is TorchCheckpointIO


def test_leftovers_are_removed_by_the_next_run_of_the_folder_and_nothing_else_is(tmp_path):
    tiny.main(SHORT)
    (LAST.parent / LEFTOVER).touch()
    (LAST.parent / ".mine.partial").touch()
    remove_leftovers(tmp_path / "nowhere")
    tiny.main(["fit", "--trainer.max_epochs=2", f"--ckpt_path={LAST}"])
    assert not (LAST.parent / LEFTOVER).exists()
    assert (LAST.parent / ".mine.partial").exists()


def test_a_run_goes_on_from_the_newest_whole_checkpoint(tmp_path, monkeypatch):
    every = ["--trainer.max_epochs=3", "--trainer.callbacks.save_top_k=-1", "--trainer.callbacks.monitor=null"]
    whole = run_config("outside.tiny", every, tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr("outside.parts.TinyMethod.on_train_batch_start", _crash_at_step_10)
        with pytest.raises(RuntimeError, match="crash"):
            run_config("outside.tiny", every, tmp_path / "torn")
    for damage in ("hole", "NaN", "folder"):
        shutil.copytree(tmp_path / "torn", tmp_path / damage)
        paths = list((tmp_path / damage / "version_0/checkpoints").iterdir())
        newest = [path for path in paths if torch.load(path, weights_only=True)["global_step"] == 8]
        assert (len(newest), len(paths)) == (2, 3)  # last.ckpt is equal to the newest
        for path in newest:
            _damage(path, damage)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            assert run_config("outside.tiny", every, tmp_path / damage) == whole
        said = "".join(str(warning.message) for warning in caught if "Skipping this checkpoint" in str(warning.message))
        assert all(str(path) in said for path in newest), said
        tables = [(tmp_path / run / "version_0/metrics.csv").read_text() for run in (damage, "whole")]
        assert tables[0] == tables[1]


def _crash_at_step_10(module, *args):
    if module.global_step == 10:
        raise RuntimeError("crash")


def _damage(path, damage):
    content, stamp = path.read_bytes(), path.stat().st_mtime_ns
    if damage == "NaN":
        checkpoint = torch.load(path, weights_only=True)
        checkpoint["state_dict"]["net.linear.weight"][0] = torch.nan
        torch.save(checkpoint, path)
    elif damage == "folder":
        path.unlink()
        path.mkdir()
    else:
        path.write_bytes(content[:900] + content[1200:])
    os.utime(path, ns=(stamp, stamp))


def test_of_equally_new_checkpoints_the_last_one_counts(tmp_path):
    tiny.main([*SHORT, "--trainer.logger=false", "--trainer.default_root_dir=made"])
    made = last_checkpoint(Path("made"))
    assert made is not None
    for name in ("a", "last", "z"):
        os.utime(shutil.copy(made, tmp_path / f"{name}.ckpt"), ns=(10**18, 10**18))
    shutil.rmtree("made")
    assert last_checkpoint(tmp_path) == tmp_path / "last.ckpt"


@pytest.mark.parametrize("command", ["fit", "validate", "test", "predict"])
def test_a_damaged_checkpoint_is_refused_with_the_whole_ones_beside_it(command, tmp_path):
    tiny.main([*SHORT, "--trainer.logger=false", "--trainer.default_root_dir=made"])
    made = last_checkpoint(Path("made"))
    assert made is not None
    folder = Path("runs/tiny/version_0/checkpoints")
    folder.mkdir(parents=True)
    (folder.parent / "config.yaml").touch()
    shutil.copy(made, folder / "best.ckpt")
    for name in ("last", "other"):
        (folder / f"{name}.ckpt").write_bytes(made.read_bytes()[:1000])
    message = (
        r"got runs/.*/last\.ckpt, which is damaged.* Undamaged checkpoints in the same folder: runs/.*/best\.ckpt$"
    )
    with pytest.raises(ValueError, match=message):
        tiny.main([command, f"--ckpt_path={folder / 'last.ckpt'}"])
    assert [path.name for path in Path("runs/tiny").iterdir()] == ["version_0"]


def test_weights_alone_do_not_make_a_training_go_on():
    made = tiny.main([*SHORT, "--trainer.logger=false"])
    torch.save({"state_dict": made.model.state_dict(), "pytorch-lightning_version": "2.6.6"}, "weights.ckpt")
    with pytest.raises(ValueError, match=r"got weights\.ckpt without \['epoch', .*WarmStart"):
        tiny.main(["fit", "--trainer.logger=false", "--ckpt_path=weights.ckpt"])
    assert "val/loss" in tiny.main(["validate", "--trainer.logger=false", "--ckpt_path=weights.ckpt"]).metrics
