"""What holds for every test."""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator

import pytest
import torch
from fake_clock import FakeClock
from file_times import FileTimes
from jaxtyping import install_import_hook

os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # it would ask the network for a newer version at import
os.environ["WANDB_MODE"] = "offline"

torch.set_num_threads(1)


def pytest_configure(config: pytest.Config) -> None:
    """Check every annotated shape and type, unless times are taken, to which a check would add its own."""
    config.pluginmanager.register(FileTimes())
    _share_sample_data(config)
    if "benchmark" in config.option.markexpr.replace("not benchmark", ""):
        return
    # the numeric tower lets an int stand where a float is asked for (PEP 484)
    install_import_hook(
        ["lightning_edge", "callbacks"], "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))"
    )


def _share_sample_data(config: pytest.Config) -> None:
    """One folder of sample data for all processes of a run, empty at its start: nothing is drawn twice or left over."""
    if "LIGHTNING_EDGE_CACHE" not in os.environ:  # which workers inherit
        folder = tempfile.mkdtemp(prefix="lightning_edge_samples_")
        os.environ["LIGHTNING_EDGE_CACHE"] = folder
        config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
        config.add_cleanup(lambda: os.environ.pop("LIGHTNING_EDGE_CACHE", None))


@pytest.fixture(autouse=True)
def _forget_wandb_settings() -> Iterator[None]:
    """W&B reads its environment once in a process: a test that changes it must not decide for those after it."""
    yield
    if wandb := sys.modules.get("wandb"):
        wandb.teardown()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    """The clock of ``timing``, moved by hand."""
    fake = FakeClock()
    monkeypatch.setattr("lightning_edge.timing.perf_counter_ns", fake)
    return fake
