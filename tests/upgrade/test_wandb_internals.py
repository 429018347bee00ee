"""What `recipes/_cli/wandb_internals.py` expects of Lightning's logger for W&B, and of W&B."""

import pytest
import wandb
from lightning.pytorch.loggers import WandbLogger

from recipes._cli.wandb_internals import is_set_offline, silence, start_arguments

ADAPT = "adapt recipes/_cli/wandb_internals.py"


def test_a_changed_argument_reaches_wandb(monkeypatch, tmp_path):
    seen = {}
    monkeypatch.setattr("wandb.init", lambda **arguments: seen.update(arguments))
    logger = WandbLogger(name="mine", save_dir=tmp_path)
    assert start_arguments(logger)["name"] == "mine", f"WandbLogger._wandb_init has changed: {ADAPT}"
    start_arguments(logger).update(group="all", mode="offline")
    _ = logger.experiment
    assert (seen["name"], seen["group"], seen["mode"]) == ("mine", "all", "offline"), (
        f"WandbLogger no longer starts W&B with _wandb_init: {ADAPT}"
    )


def test_a_logger_still_passes_the_argument_that_wandb_drops():
    needless = "leave_anonymous_unset in recipes/_cli/wandb.py can go, as WandbLogger no longer passes anonymous"
    assert "anonymous" in start_arguments(WandbLogger()), needless


@pytest.mark.parametrize("offline", [True, False])
def test_a_logger_knows_whether_it_was_set_offline(offline):
    assert is_set_offline(WandbLogger(offline=offline)) == offline, f"WandbLogger._offline has changed: {ADAPT}"


@pytest.mark.parametrize("is_silent", [True, False])
def test_a_silenced_run_prints_nothing_at_its_end(is_silent, tmp_path, monkeypatch, capfd):
    for name in ("WANDB_SILENT", "WANDB_QUIET"):
        monkeypatch.delenv(name, raising=False)
    run = wandb.init(mode="offline", dir=tmp_path)
    capfd.readouterr()
    if is_silent:
        silence(run)
    run.finish()
    printed = "".join(capfd.readouterr())
    assert (printed == "") == is_silent, f"run._settings.silent no longer decides what a run prints: {ADAPT}, {printed}"
