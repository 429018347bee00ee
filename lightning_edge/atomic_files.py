"""Files that are replaced at once: a kill or a full disk leaves the old content, and never half of the new one."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

_LEFTOVER = re.compile(r"\.[0-9a-f]{32}\.partial")


def replace_file(path: Path, content: bytes | memoryview) -> None:
    """Write a file as :func:`open_replacement` does, if all its content is in memory.

    Raises:
        OSError: The file could not be written. An existing file of this name is unchanged.
    """
    with open_replacement(path) as file:
        file.write(content)


@contextmanager
def open_replacement(path: Path) -> Iterator[BinaryIO]:
    """Open a new file that replaces ``path`` at the end of the block, when all its bytes are on the disk.

    Until then it has a unique name in the same folder, because several processes can write at the same time. It is
    removed if the block raises an error.

    Args:
        path: The file. Its folder must exist.

    Raises:
        OSError: The file could not be written; the error names it. An existing file of this name is unchanged.
    """
    partial = path.with_name(f".{uuid4().hex}.partial")
    try:
        with partial.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException as error:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        if isinstance(error, OSError):  # that of a full disk names no file, and others name the partial one
            raise OSError(error.errno, error.strerror or str(error), str(path)) from error
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Flush the names in a folder, as far as the system can; the file itself is complete without it."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


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
