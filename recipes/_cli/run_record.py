"""The two files that tie a folder to one run: ``run.json`` with its arguments and ``done.json`` with its metrics."""

import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning_edge.atomic_files import replace_file
from lightning_edge.json_files import read_object

RUN, DONE = "run.json", "done.json"


def claim(folder: Path, plan: Mapping[str, Any]) -> bool:
    """Reserve a folder for a run; return whether it was already reserved for this run.

    Raises:
        ValueError: The folder belongs to another run, or its ``run.json`` is damaged.
    """
    path = folder / RUN
    if not path.exists():
        write_json(path, plan)
        return False
    earlier = _read_json(path)
    if earlier is None:
        raise ValueError(
            f"{path} is damaged, so it is not known which run this folder belongs to. Delete the file if the folder "
            f"belongs to the run {plan}; otherwise choose another folder."
        )
    if earlier != plan:
        raise ValueError(
            f"expected {folder} to be empty or to belong to the run {plan}, got {earlier}: choose another folder, or "
            "delete that one"
        )
    return True


def check_arguments(folder: Path, arguments: Sequence[str]) -> None:
    """Refuse the finished run of a folder if it did not begin with these arguments.

    Nothing is refused if there is no record of its arguments.

    Raises:
        ValueError: The arguments differ.
    """
    earlier = _read_json(folder / RUN) if (folder / RUN).exists() else None
    if earlier is None:
        return
    others = earlier.get("arguments", [])
    if others[: len(arguments)] != list(arguments):
        missing = [argument for argument in arguments if argument not in others]
        changed = [argument for argument in others if argument not in arguments]
        raise ValueError(
            f"expected {folder} to have a run with {missing or 'the same arguments in the same order'}, got one with "
            f"{changed or 'others'}: repeat the command with the same options, choose another folder, or delete it"
        )


def metrics_of_finished(folder: Path) -> dict[str, float] | None:
    """The metrics of a finished run; ``None`` if the run is not finished or its ``done.json`` is damaged.

    Raises:
        ValueError: ``done.json`` is a folder.
    """
    path = folder / DONE
    if not path.exists():
        return None
    if path.is_dir():  # the finished run could not replace it by a file
        raise ValueError(f"expected {path} to be the file that a finished run writes, got a folder: move it elsewhere")
    metrics = _read_json(path)
    if metrics is None or not all(isinstance(value, int | float) for value in metrics.values()):
        warnings.warn(f"{path} is damaged; the run is treated as unfinished and continues.", stacklevel=2)
        return None
    return metrics


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file atomically."""
    replace_file(path, json.dumps(content, indent=2, sort_keys=True).encode())


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        return read_object(path)
    except ValueError:
        return None
