"""The checkpoint of ``--ckpt_path``: whether it is usable, and which run wrote it."""

from pathlib import Path
from typing import Any

import torch

from lightning_edge.checkpoints import (
    LIGHTNING,
    RESUMABLE,
    check_file,
    find_fault,
    is_sharded,
    last_checkpoint,
    newest_first,
    read_checkpoint,
)


def check_checkpoint(path: Path, runs: Path, resumes: bool, weights_only: bool | None = None) -> dict[str, Any]:
    """Read a checkpoint, or raise an error with a clear message if it is missing or damaged.

    Args:
        path: The value of ``--ckpt_path``.
        runs: Folder to search for a checkpoint that the message can suggest.
        resumes: Whether a training resumes from it.
        weights_only: ``False`` allows objects of any type in the file, which can run code when it is read.

    Returns:
        The content of the file; an empty dict for a sharded checkpoint, which is a folder.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: The checkpoint is not usable.
    """
    if not path.exists():
        newest = last_checkpoint(runs)
        hint = f"; the newest one in {runs} is {newest}" if newest else ""
        raise FileNotFoundError(f"expected ckpt_path to be a checkpoint, got {path}, which does not exist{hint}")
    try:
        return _content(path, resumes, weights_only)
    except ValueError as error:
        others = [other for other in newest_first(path.parent.glob("*.ckpt")) if other != path]
        whole = [str(other) for other in others if find_fault(other) is None]
        hint = f". Undamaged checkpoints in the same folder: {', '.join(whole)}" if whole else ""
        raise ValueError(f"{str(error).removesuffix('.')}{hint}") from None


def run_of(checkpoint: Path) -> Path | None:
    """Folder of the run that wrote a checkpoint; ``None`` if no recipe wrote it."""
    return next((folder for folder in checkpoint.parents if (folder / "config.yaml").is_file()), None)


def _content(path: Path, resumes: bool, weights_only: bool | None) -> dict[str, Any]:
    if is_sharded(path):
        return {}
    if weights_only is False:
        check_file(path, "ckpt_path")
        return torch.load(path, map_location="cpu", mmap=True, weights_only=False)
    return read_checkpoint(path, "ckpt_path", RESUMABLE if resumes else LIGHTNING)
