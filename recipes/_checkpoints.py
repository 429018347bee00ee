"""Checkpoints of runs: which one to go on from, and what to say of one that is damaged.

Heavy imports wait, as in the command line.
"""

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_SHARDED = (".metadata", "meta.pt", "latest")
"""Files of which one lies in a checkpoint that is a folder, as Lightning and DeepSpeed write them."""


def last_checkpoint(folder: Path) -> Path | None:
    """Newest checkpoint below ``folder`` that is whole; of equally new ones ``last.ckpt``.

    Newer ones that are damaged, or have weights that are NaN, give a warning each.
    """
    for path in _newest_first(folder.rglob("*.ckpt")):
        if (fault := _fault(path)) is None:
            return path
        warnings.warn(f"{fault}. It is left out", stacklevel=2)
    return None


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
        others = [other for other in _newest_first(path.parent.glob("*.ckpt")) if other != path]
        whole = [str(other) for other in others if _fault(other) is None]
        hint = f". Whole checkpoints beside it: {', '.join(whole)}" if whole else ""
        raise ValueError(f"{error}{hint}") from None


def run_of(checkpoint: Path) -> Path | None:
    """Folder of the recipe's run that wrote a checkpoint, if it was one."""
    return next((folder for folder in checkpoint.parents if (folder / "config.yaml").is_file()), None)


def _content(path: Path, resumes: bool, weights_only: bool | None) -> dict[str, Any]:
    from lightning_edge.checkpoints import LIGHTNING, RESUMABLE, check_file, read_checkpoint

    if _is_sharded(path):
        return {}
    if weights_only is False:
        check_file(path, "ckpt_path")
        return _trusted(path)
    return read_checkpoint(path, "ckpt_path", RESUMABLE if resumes else LIGHTNING)


def _trusted(path: Path) -> dict[str, Any]:
    import torch

    return torch.load(path, map_location="cpu", mmap=True, weights_only=False)


def _fault(path: Path) -> str | None:
    """What is wrong with a checkpoint that a training would go on from."""
    try:
        _content(path, resumes=True, weights_only=None)
    except (ValueError, OSError) as error:
        return str(error)
    return None


def _is_sharded(path: Path) -> bool:
    return path.is_dir() and any((path / name).exists() for name in _SHARDED)


def _newest_first(paths: Iterator[Path]) -> list[Path]:
    dated = []
    for path in paths:
        try:
            dated.append((path.stat().st_mtime, path.name == "last.ckpt", path))
        except OSError:  # removed meanwhile, or a link to nowhere
            continue
    return [path for *_, path in sorted(dated, reverse=True)]
