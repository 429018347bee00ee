"""Rows of a ``metrics.csv`` that was damaged."""

import csv
import warnings
from pathlib import Path

import pytest
from lightning.pytorch.trainer.connectors.logger_connector import _LoggerConnector
from outside import tiny

from recipes import run_config
from recipes._cli.metrics_table import rows_before

HEAD = b"epoch,step,train/loss,val/loss\r\n"
ROWS = [b"0,3,,0.5\r\n", b"0,3,0.7,\r\n", b"1,7,,0.4\r\n", b"1,7,0.6,\r\n"]
READ = [
    {"epoch": "0", "step": "3", "val/loss": "0.5"},
    {"epoch": "0", "step": "3", "train/loss": "0.7"},
    {"epoch": "1", "step": "7", "val/loss": "0.4"},
    {"epoch": "1", "step": "7", "train/loss": "0.6"},
]


@pytest.mark.parametrize(
    ("content", "kept"),
    [
        (HEAD + b"".join(ROWS), 4),
        (HEAD, 0),
        ((HEAD + b"".join(ROWS)).replace(b"\r\n", b"\n"), 4),
        (HEAD + b"".join(ROWS[:2]) + b"1,7,,0.", [0, 1]),
        (HEAD + b"".join(ROWS[:2]) + b"1,", [0, 1]),
        (HEAD + b"".join(ROWS[:3]) + b"1,7,0.6,", [0, 1, 2]),
        (HEAD + b"".join(ROWS[:2]) + b"1,7,,0." + ROWS[3], [0, 1]),
        (HEAD + ROWS[0] + b"\0" * 4096 + ROWS[3], [0]),
        (HEAD + ROWS[0] + b"\xff\xfe,7,1,2\r\n" + ROWS[3], [0, 3]),
        (HEAD + ROWS[0] + b"0,0.,1,2\r\n" + b"0,-1,1,2\r\n" + b"0," + b"9" * 5000 + b",1,2\r\n", [0]),
        (HEAD + ROWS[0] + b'"0,3,,0.5\r\n' + ROWS[3], [0, 3]),
        (b"", []),
        (b"\0" * 512, []),
        (b"epoch,tep\r\n0,3\r\n", []),
    ],
)
def test_whole_rows_are_kept_and_damage_is_said_once(content, kept, tmp_path):
    (tmp_path / "metrics.csv").write_bytes(content)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        rows = rows_before(tmp_path, 100)
    is_whole = isinstance(kept, int)
    assert rows == (READ[:kept] if is_whole else [READ[index] for index in kept])
    assert [f"{tmp_path}/metrics.csv is damaged" in str(warning.message) for warning in caught] == [True] * (
        not is_whole
    )


def test_rows_after_the_checkpoint_are_left_out(tmp_path):
    (tmp_path / "metrics.csv").write_bytes(HEAD + b"".join(ROWS))
    assert rows_before(tmp_path, 4) == READ[:2]
    assert rows_before(tmp_path, None) == READ
    assert rows_before(tmp_path / "nowhere", 4) == []


def test_a_damaged_table_hinders_no_resumed_run(tmp_path):
    run = tmp_path / "runs/tiny/version_0"
    tiny.main(["fit", "--trainer.max_epochs=2"])
    with (run / "metrics.csv").open(newline="") as file:
        earlier = list(csv.DictReader(file))
    (run / "metrics.csv").write_bytes((run / "metrics.csv").read_bytes() + b"1,0.")
    resume = ["fit", "--trainer.max_epochs=3", "--ckpt_path=runs/tiny/version_0/checkpoints/last.ckpt"]
    with pytest.warns(UserWarning, match=r"metrics\.csv is damaged"):
        tiny.main(resume)
    with (run / "metrics.csv").open(newline="") as file:
        later = list(csv.DictReader(file))
    assert later[: len(earlier)] == earlier
    assert len(later) > len(earlier)
    assert not (run / "metrics.csv.earlier").exists()


def test_rows_survive_a_kill_while_they_are_put_back(monkeypatch):
    tiny.main(["fit", "--trainer.max_epochs=1"])
    table = Path("runs/tiny/version_0/metrics.csv")
    before = table.read_bytes()
    resume = ["fit", "--trainer.max_epochs=2", "--ckpt_path=runs/tiny/version_0/checkpoints/last.ckpt"]
    with monkeypatch.context() as patch:
        patch.setattr("lightning.pytorch.loggers.CSVLogger.save", lambda logger: [][0])
        with pytest.raises(IndexError):
            tiny.main(resume)
    tiny.main(resume)
    assert table.read_bytes().startswith(before)


def killed_in(epoch):
    """Lightning's own logging of an epoch, but for one that is never logged."""
    log = _LoggerConnector.update_train_epoch_metrics

    def log_or_die(connector):
        if connector.trainer.current_epoch == epoch:
            raise RuntimeError("killed")
        log(connector)

    return log_or_die


def test_a_kill_just_after_a_checkpoint_loses_no_row(tmp_path, monkeypatch):
    """Lightning logs what it has of an epoch after the callbacks, so after the checkpoint too."""

    def train(method, batch, batch_idx):
        loss = method._loss(batch)
        method.log("train/loss", loss, on_step=False, on_epoch=True)
        return loss

    monkeypatch.setattr("outside.parts.TinyMethod.training_step", train)
    saving = (
        "[{'class_path':'ModelCheckpoint','init_args':{'filename':'last','every_n_epochs':1,"
        "'save_on_train_epoch_end':true,'enable_version_counter':false}}]"
    )
    arguments = ["--trainer.max_epochs=2", f"--trainer.callbacks={saving}"]
    for num_epochs in (1, 2):
        whole = run_config("outside.tiny", arguments, tmp_path / f"whole_{num_epochs}")
        torn = tmp_path / f"torn_{num_epochs}"
        with monkeypatch.context() as patch:
            patch.setattr(_LoggerConnector, "update_train_epoch_metrics", killed_in(num_epochs - 1))
            with pytest.raises(RuntimeError, match="killed"):
                run_config("outside.tiny", arguments, torn)
        assert run_config("outside.tiny", arguments, torn) == whole
        table = (tmp_path / f"whole_{num_epochs}" / "version_0/metrics.csv").read_text()
        assert table.count("\n") == 5
        assert (torn / "version_0/metrics.csv").read_text() == table
