"""Checkpoints that a kill or a full disk cannot destroy."""

import io
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import torch
from lightning.fabric.plugins.io import TorchCheckpointIO
from typing_extensions import override

_LEFTOVER = re.compile(r"\.[0-9a-f]{32}\.partial")


class AtomicCheckpointIO(TorchCheckpointIO):
    """Write each checkpoint beside the file that it replaces, and replace that one once all bytes are on the disk.

    Lightning writes to the system's temporary folder instead. Where that is another file system, it copies the result
    over the earlier checkpoint, and a kill or a full disk meanwhile leaves neither. Every recipe uses this plug-in; in
    Python it is an argument of the trainer::

        trainer = Trainer(plugins=[AtomicCheckpointIO()])

    Paths such as ``s3://...`` are written and all paths are read as Lightning does it. What a killed process leaves
    behind has a name that begins with a dot; :func:`remove_leftovers` removes it.
    """

    @override
    def save_checkpoint(self, checkpoint: dict[str, Any], path: Path | str, storage_options: Any | None = None) -> None:
        """Write a checkpoint, whole or not at all.

        Args:
            checkpoint: What ``torch.save`` takes.
            path: The file; folders that it needs are made.
            storage_options: Lightning's own; nothing here knows any.

        Raises:
            OSError: The file could not be written. An earlier one of this name is unchanged.
            TypeError: There are ``storage_options``.
        """
        if storage_options is not None or "://" in str(path):
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        content = io.BytesIO()
        torch.save(checkpoint, content)
        try:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            replace_file(Path(path), content.getbuffer())
        except OSError as error:
            raise OSError(
                f"the checkpoint {path} could not be written ({error.strerror}); an earlier one of this name is "
                "unchanged. Make room there, or choose another folder with --trainer.default_root_dir"
            ) from error


def replace_file(path: Path, content: bytes | memoryview) -> None:
    """Write a file that replaces the one of its name when all of it is on the disk.

    Raises:
        OSError: It could not be written. An earlier file of this name is unchanged.
    """
    partial = path.with_name(f".{uuid4().hex}.partial")
    try:
        with partial.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise
    with suppress(OSError):  # some systems cannot write folders; the file is whole all the same
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def remove_leftovers(folder: Path) -> None:
    """Remove what processes that were killed while they wrote a file of a folder have left there.

    Only for a folder that no other process writes to.
    """
    if not folder.is_dir():
        return
    for path in folder.iterdir():
        if _LEFTOVER.fullmatch(path.name):
            with suppress(OSError):
                path.unlink()
