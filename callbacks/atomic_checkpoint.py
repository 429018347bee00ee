"""Checkpoints that survive a kill and a full disk."""

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
    """Write each checkpoint to a new file in the same folder, and replace the old one when all bytes are on the disk.

    Lightning writes to the system's temporary folder instead. If that is another file system, Lightning copies the
    result over the old checkpoint, and a kill or a full disk during the copy destroys both. Every recipe uses this
    plug-in. In Python it is an argument of the trainer::

        trainer = Trainer(plugins=[AtomicCheckpointIO()])

    Paths such as ``s3://...`` are written by Lightning, and all paths are read by Lightning. The unfinished file of a
    killed process has a name that starts with a dot; :func:`remove_leftovers` removes it.
    """

    @override
    def save_checkpoint(self, checkpoint: dict[str, Any], path: Path | str, storage_options: Any | None = None) -> None:
        """Write a checkpoint atomically.

        Args:
            checkpoint: Any object that ``torch.save`` can write.
            path: Path of the file. Missing folders are created.
            storage_options: Options of Lightning's plug-in, which supports none.

        Raises:
            OSError: The file could not be written. An existing file of this name is unchanged.
            TypeError: ``storage_options`` are given.
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
                f"the checkpoint {path} could not be written ({error.strerror}); an existing file of this name is "
                "unchanged. Free some disk space, or choose another folder with --trainer.default_root_dir"
            ) from error


def replace_file(path: Path, content: bytes | memoryview) -> None:
    """Write a file atomically: it replaces an existing one when all its bytes are on the disk.

    Raises:
        OSError: The file could not be written. An existing file of this name is unchanged.
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
    with suppress(OSError):  # some systems cannot flush folders, but the file itself is complete
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def remove_leftovers(folder: Path) -> None:
    """Remove the unfinished files that killed processes left in a folder.

    No other process may write to the folder at the same time.
    """
    if not folder.is_dir():
        return
    for path in folder.iterdir():
        if _LEFTOVER.fullmatch(path.name):
            with suppress(OSError):
                path.unlink()
