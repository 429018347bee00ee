"""The checkpoint that ``--ckpt_path`` names: whether it can be used, and which run wrote it."""

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
    """Content of a checkpoint, or an error that a person understands if ``path`` is no whole one.

    Args:
        path: What was given as ``--ckpt_path``.
        runs: Where to look for one that may have been meant.
        resumes: Whether a training goes on from it.
        weights_only: ``False`` trusts the file to hold objects of any kind.

    Returns:
        What the file holds; nothing of a checkpoint that is a folder.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It cannot be used.
    """
    if not path.exists():
        newest = last_checkpoint(runs)
        hint = f"; the newest one there is in {runs} is {newest}" if newest else ""
        raise FileNotFoundError(f"expected ckpt_path to be a checkpoint, got {path}, which does not exist{hint}")
    try:
        return _content(path, resumes, weights_only)
    except ValueError as error:
        others = [other for other in newest_first(path.parent.glob("*.ckpt")) if other != path]
        whole = [str(other) for other in others if find_fault(other) is None]
        hint = f". Whole checkpoints beside it: {', '.join(whole)}" if whole else ""
        raise ValueError(f"{error}{hint}") from None


def run_of(checkpoint: Path) -> Path | None:
    """Folder of the recipe's run that wrote a checkpoint, if it was one."""
    return next((folder for folder in checkpoint.parents if (folder / "config.yaml").is_file()), None)


def _content(path: Path, resumes: bool, weights_only: bool | None) -> dict[str, Any]:
    if is_sharded(path):
        return {}
    if weights_only is False:
        check_file(path, "ckpt_path")
        return torch.load(path, map_location="cpu", mmap=True, weights_only=False)
    return read_checkpoint(path, "ckpt_path", RESUMABLE if resumes else LIGHTNING)
