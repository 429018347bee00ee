"""W&B never stops a run."""

import os
import pickle
import socket
import time
from email.message import Message
from pathlib import Path
from urllib.error import HTTPError

import pytest
import wandb
from lightning.pytorch.loggers import WandbLogger
from outside import tiny
from wandb_offline import read_offline_run

from recipes._cli import wandb as _wandb
from recipes._cli.wandb_environment import has_wandb_credentials, prepare_wandb

KEY = "0123456789" * 4
FIT = ["fit", "--trainer.max_epochs=1"]
SAYS_OFFLINE = "W&B logs offline because {} cannot be used"


@pytest.fixture(autouse=True)
def _no_account(tmp_path, monkeypatch):
    for name in ("WANDB_API_KEY", "WANDB_BASE_URL", "WANDB_MODE", "WANDB_SILENT"):
        monkeypatch.setenv(name, "")  # so that what the run sets is undone afterwards
        monkeypatch.delenv(name)
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))


@pytest.fixture
def closed_server(monkeypatch):
    """Address of a port where nobody listens."""
    with socket.socket() as port:
        port.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{port.getsockname()[1]}"
        monkeypatch.setenv("WANDB_BASE_URL", address)
        yield address


@pytest.mark.parametrize("key", ["", "  "])
@pytest.mark.parametrize("mode", ["", " ", "junk", "ONLINE!"])
def test_empty_variables_count_as_none(key, mode, monkeypatch, capsys):
    monkeypatch.setenv("WANDB_API_KEY", key)
    monkeypatch.setenv("WANDB_MODE", mode)
    prepare_wandb()
    assert os.environ["WANDB_MODE"] == "offline"
    assert "WANDB_API_KEY" not in os.environ
    said = capsys.readouterr().err
    assert said == "" if not mode.strip() else said.count("\n") == 1 and repr(mode) in said


@pytest.mark.parametrize(
    ("content", "has_account"),
    [
        (b"machine api.wandb.ai login user password secret", True),
        (b"machine api.wandb.ai login user", False),
        (b"machine api.wandb.ai", False),
        (b"machine api.wandb.ai login user password", False),
        (b"default login user password secret", True),
        (b"\xff\xfe\0", False),
        (b"\0" * 100, False),
        (b"", False),
        (None, False),
    ],
)
def test_a_netrc_that_cannot_be_read_has_no_account(content, has_account, tmp_path):
    if content is None:
        (tmp_path / "netrc").mkdir()
    else:
        (tmp_path / "netrc").write_bytes(content)
    assert has_wandb_credentials() is has_account


def test_a_netrc_without_rights_has_no_account(tmp_path, monkeypatch):
    (tmp_path / "netrc").touch()
    monkeypatch.setattr("netrc.netrc", lambda path: _refuse(path))
    assert not has_wandb_credentials()


def _refuse(path):
    raise PermissionError(13, "Permission denied", str(path))


@pytest.mark.parametrize("mode", [None, "online"])
def test_a_key_without_a_network_logs_offline_at_once(mode, closed_server, monkeypatch, caplog):
    def init(**options):
        modes.append(options.get("mode"))
        return start(**options)

    modes, start = [], wandb.init
    monkeypatch.setattr("wandb.init", init)
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    if mode:
        monkeypatch.setenv("WANDB_MODE", mode)
    with pytest.warns(UserWarning, match=SAYS_OFFLINE.format(closed_server)):
        assert "val/loss" in tiny.main(FIT).metrics
    assert modes == ["offline"]  # W&B itself would try for 90 s before it gives up
    assert list(Path("runs/tiny/version_0/wandb").glob("offline-run-*"))
    assert "`wandb sync runs/tiny/version_0/wandb/offline-run-" in caplog.text


def test_a_server_that_never_answers_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(_wandb, "MAX_WAIT_S", 0.3)
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{server.getsockname()[1]}")
        start = time.monotonic()
        assert _wandb._why_unreachable() in ("no answer within 0 s", "timed out")
        assert time.monotonic() - start < 5


@pytest.mark.parametrize(("code", "is_there"), [(401, True), (404, True), (500, True), (502, False), (503, False)])
def test_a_proxy_that_reaches_no_server_is_none(code, is_there, monkeypatch):
    def refuse(address, timeout):
        raise HTTPError(address, code, "said by a proxy", Message(), None)

    monkeypatch.setattr(_wandb, "urlopen", refuse)
    assert (_wandb._why_unreachable() is None) is is_there


def test_a_key_that_is_refused_logs_offline(monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "too-short")
    monkeypatch.setattr(_wandb, "_why_unreachable", lambda: None)
    with pytest.warns(UserWarning, match=SAYS_OFFLINE.format("https://api.wandb.ai") + ".*API key"):
        tiny.main(FIT)
    assert list(Path("runs/tiny/version_0/wandb").glob("offline-run-*"))


def test_a_run_goes_without_wandb_where_it_does_not_start(monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setattr("wandb.init", lambda **options: _refuse("wandb"))
    with pytest.warns(UserWarning, match=r"W&B does not start, so this run does not use it: PermissionError"):
        cli = tiny.main(FIT)
    assert [type(logger).__name__ for logger in cli.trainer.loggers] == ["CSVLogger"]
    assert Path("runs/tiny/version_0/metrics.csv").is_file()
    assert Path("runs/tiny/version_0/config.yaml").is_file()


def test_a_folder_that_cannot_be_written_stops_no_run(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    (tmp_path / "file").touch()
    table = "{'class_path':'CSVLogger','init_args':{'save_dir':'runs','name':'tiny'}}"
    other = f"{{'class_path':'WandbLogger','init_args':{{'save_dir':'{tmp_path}/file/below'}}}}"
    assert "val/loss" in tiny.main([*FIT, f"--trainer.logger=[{table},{other}]"]).metrics


def test_a_run_has_a_name_a_group_and_the_best_value_of_its_score(monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    best = [
        "--trainer.callbacks+=ModelCheckpoint",
        "--trainer.callbacks.monitor=val/loss",
        "--trainer.callbacks.mode=min",
    ]
    cli = tiny.main([*FIT, *best, "--seed_everything=3"])
    run = read_offline_run(Path("runs"))
    assert run.labels == {
        "name": "tiny TinyData seed 3",
        "group": "tiny",
        "job_type": "fit",
        "tags": ["tiny", "TinyMethod", "TinyData"],
    }
    assert run.summaries["val/loss"] == "min"
    assert cli.trainer.checkpoint_callback.monitor == "val/loss"  # what --ckpt_path=best means


def test_names_that_are_given_stay(monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_RUN_GROUP", "a sweep")
    named = "{'class_path':'WandbLogger','init_args':{'name':'mine','save_dir':'runs'}}"
    tiny.main([*FIT, f"--trainer.logger={named}"])
    labels = read_offline_run(Path("runs")).labels
    assert (labels["name"], labels["group"]) == ("mine", "a sweep")


def test_a_prediction_starts_no_run(monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setattr("wandb.init", lambda **options: _refuse("wandb"))
    cli = tiny.main(["predict"])
    assert [type(logger).__name__ for logger in cli.trainer.loggers] == ["CSVLogger"]


def fail(*args, **kwargs):
    calls.append(args)
    raise ConnectionResetError("Connection lost")


calls: list = []


@pytest.mark.parametrize("method", ["log_metrics", "log_hyperparams", "after_save_checkpoint", "finalize"])
def test_a_run_continues_without_wandb_where_that_fails_within_it(method, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "disabled")
    monkeypatch.setattr(WandbLogger, method, fail)
    finish = wandb.finish
    monkeypatch.setattr("wandb.finish", lambda: (finish(), fail()))
    calls.clear()
    with pytest.warns(UserWarning, match="W&B failed, so the run continues without it: ConnectionReset") as said:
        assert "val/loss" in tiny.main([*FIT, "--trainer.log_every_n_steps=1"]).metrics
    assert len(calls) == 2  # the method once, and the end
    assert sum("W&B failed" in str(warning.message) for warning in said) == 1
    assert sum("W&B did not end properly" in str(warning.message) for warning in said) == 1
    assert len(Path("runs/tiny/version_0/metrics.csv").read_text().splitlines()) > 3


def test_so_it_does_where_a_callback_logs_by_itself(monkeypatch):
    def log(module):
        logger = next(logger for logger in module.loggers if isinstance(logger, WandbLogger))
        logger.experiment.log({"x": 1})
        logger.experiment.log({"x": 2})
        pickle.loads(pickle.dumps(logger))  # as a strategy that spawns processes does

    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setattr("wandb.sdk.wandb_run.Run.log", fail)
    monkeypatch.setattr("outside.parts.TinyMethod.on_train_end", log)
    calls.clear()
    with pytest.warns(UserWarning, match="W&B failed, so the run continues without it: ConnectionResetError"):
        assert "val/loss" in tiny.main(FIT).metrics
    assert len(calls) == 1
