"""Files that are replaced at once: a kill or a full disk leaves the old content, and never half of the new one."""

import csv
import os
import re
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from io import StringIO
from pathlib import Path
from typing import Any, BinaryIO
from uuid import uuid4

_LEFTOVER = re.compile(r"\.[0-9a-f]{32}\.partial")


def replace_file(path: Path, content: bytes | memoryview) -> None:
    """Write a file as :func:`open_replacement` does, if all its content is in memory.

    Raises:
        OSError: The file could not be written. An existing file of this name is unchanged.
    """
    with open_replacement(path) as file:
        file.write(content)


def replace_table(path: Path, header: Iterable[str], rows: Iterable[Iterable[Any]]) -> None:
    """Write a CSV file as :func:`replace_file` does: a truncated table would look like one with fewer rows."""
    table = StringIO(newline="")
    writer = csv.writer(table)
    writer.writerow(header)
    writer.writerows(rows)
    replace_file(path, table.getvalue().encode())


@contextmanager
def open_replacement(path: Path) -> Iterator[BinaryIO]:
    """Open a new file that replaces ``path`` at the end of the block, when all its bytes are on the disk.

    Until then it has a unique name in the same folder, because several processes can write at the same time. It is
    removed if the block raises an error. A symbolic link is kept, and the file that it leads to is replaced. The new
    file has the permissions of the old one. Its owner is the user who runs the process.

    Args:
        path: The file. Its folder must exist.

    Raises:
        OSError: The file could not be written; the error names it. An existing file of this name is unchanged.
    """
    target = Path(os.path.realpath(path))
    partial = target.with_name(f".{uuid4().hex}.partial")
    try:
        with partial.open("xb") as file:
            _copy_permissions(target, partial)
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(target)
    except BaseException as error:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        if isinstance(error, OSError) and _is_about(partial, error):
            raise OSError(error.errno, error.strerror or str(error), str(path)) from error
        raise
    _sync_folder(target.parent)


def _is_about(partial: Path, error: OSError) -> bool:
    """Whether an error is about the unfinished file, which no user knows; that of a full disk names no file.

    An error without a number is about the use of a stream, such as reading from one that is only written.
    """
    return error.errno is not None and error.filename in (None, str(partial))


def _copy_permissions(old: Path, new: Path) -> None:
    """Give a new file the permissions of the old one, if there is one, as far as the system can."""
    with suppress(OSError):
        new.chmod(stat.S_IMODE(old.stat().st_mode))


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
