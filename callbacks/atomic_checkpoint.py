"""Checkpoints that survive a kill and a full disk."""

import io
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io import TorchCheckpointIO
from typing_extensions import override

from lightning_edge.atomic_files import replace_file


class AtomicCheckpointIO(TorchCheckpointIO):
    """Write each checkpoint to a new file in the same folder, and replace the old one when all bytes are on the disk.

    Lightning writes to the system's temporary folder instead. If that is another file system, Lightning copies the
    result over the old checkpoint, and a kill or a full disk during the copy destroys both. Every recipe uses this
    plug-in. In Python it is an argument of the trainer::

        trainer = Trainer(plugins=[AtomicCheckpointIO()])

    Paths such as ``s3://...`` are written by Lightning, and all paths are read by Lightning. The unfinished file of a
    killed process has a name that starts with a dot; :func:`~lightning_edge.atomic_files.remove_leftovers` removes it.
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
