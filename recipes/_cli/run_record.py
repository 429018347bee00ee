"""The two files that make a folder the place of one run: ``run.json``, which says what runs, and ``done.json``."""

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from callbacks.atomic_checkpoint import replace_file
from lightning_edge.json_files import read_object

RUN, DONE = "run.json", "done.json"


def claim(folder: Path, plan: Mapping[str, Any]) -> bool:
    """Make a folder the place of a run; whether it was before.

    Raises:
        ValueError: It is the place of another run, or its ``run.json`` is damaged.
    """
    path = folder / RUN
    if not path.exists():
        write_json(path, plan)
        return False
    earlier = _read_json(path)
    if earlier is None:
        raise ValueError(
            f"expected {path} to say what runs in this folder, got a damaged file: delete it if the folder holds the "
            f"run {plan}, else choose another folder"
        )
    if earlier != plan:
        raise ValueError(
            f"expected {folder} to be empty or to hold the run {plan}, got {earlier}: choose another folder, or delete "
            "that one"
        )
    return True


def metrics_of_finished(folder: Path) -> dict[str, float] | None:
    """What a run returned that is finished; ``None`` of any other, also of one whose ``done.json`` is damaged.

    Raises:
        ValueError: ``done.json`` is a folder.
    """
    path = folder / DONE
    if not path.exists():
        return None
    if path.is_dir():  # which no file would replace when the run has finished
        raise ValueError(f"expected {path} to be the file that a finished run leaves, got a folder: move it elsewhere")
    metrics = _read_json(path)
    if metrics is None or not all(isinstance(value, int | float) for value in metrics.values()):
        warnings.warn(f"{path} is damaged, so the run counts as unfinished and goes on", stacklevel=2)
        return None
    return metrics


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a file of JSON, whole or not at all."""
    replace_file(path, json.dumps(content, indent=2, sort_keys=True).encode())


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        return read_object(path)
    except ValueError:
        return None
