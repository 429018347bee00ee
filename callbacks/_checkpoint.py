"""Reading checkpoints, with errors that name the argument that gave the file."""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch


def read_checkpoint(path: Path, argument: str) -> dict[str, Any]:
    """Content of a Lightning checkpoint, its tensors left on the disk until they are used.

    Args:
        path: The file.
        argument: What it was given as.

    Raises:
        ValueError: if it is none or is cut short.
        UnpicklingError: if it holds more than tensors and plain values.
    """
    if not zipfile.is_zipfile(path):
        raise ValueError(f"expected {argument} to be a checkpoint, got {path}, which is none or is cut short")
    content = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
    if not isinstance(content, Mapping) or "state_dict" not in content:
        found = list(content) if isinstance(content, Mapping) else type(content).__name__
        raise ValueError(f"expected {argument} to be a checkpoint with a state_dict, got {path} with {found}")
    return dict(content)
