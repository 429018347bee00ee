"""The reader is held against a run whose rows are known, with rows longer than a block of the file."""

from pathlib import Path

import pytest
import wandb
from wandb_offline import read_offline_run


def test_an_offline_run_is_read_back_in_full(tmp_path: Path) -> None:
    long_text = "z" * 100_000
    with wandb.init(mode="offline", dir=tmp_path, config={"net": {"width": 8}}) as run:
        for index in range(200):
            run.log({"train/loss": index, "text": "a" * 500})
        run.log({"text": long_text})

    read = read_offline_run(tmp_path)
    assert read.column("train/loss") == list(range(200))
    assert read.column("text")[-1] == long_text
    assert read.summary["train/loss"] == 199
    assert read.config["net"] == {"width": 8}
    assert read.files.is_dir()


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="expected one offline run"):
        read_offline_run(tmp_path)


def test_another_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "offline-run-0" / "run-0.wandb"
    path.parent.mkdir()
    path.write_bytes(b"something else")
    with pytest.raises(ValueError, match="begins with"):
        read_offline_run(tmp_path)
