"""Opening of files that a user names: only regular files of a bounded size, with one clear error otherwise."""

import os
import stat
from io import BufferedReader
from pathlib import Path

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}


def open_file(path: Path, max_bytes: int, remedy: str) -> BufferedReader:
    """Open a file for reading. Pipes and devices are not opened, because they may never end.

    Args:
        path: The file.
        max_bytes: Largest allowed size. A larger file is not read at all.
        remedy: Advice for the error if the file is missing or is not the right one, such as where to download it.

    Raises:
        FileNotFoundError: The file does not exist.
        OSError: The system does not open or read the file.
        ValueError: The file is not a regular file, or is too large.
    """
    try:
        status = path.stat()
        if stat.S_ISREG(status.st_mode) and status.st_size <= max_bytes:
            return path.open("rb")
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: there is no such file; {_root_above(path)}{remedy}") from None
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from None
    if not stat.S_ISREG(status.st_mode):
        kind = _KINDS.get(stat.S_IFMT(status.st_mode), "something else")
        raise ValueError(f"{path}: expected a file, got {kind}; {remedy}")
    raise ValueError(f"{path}: expected a file of at most {max_bytes} bytes, got {status.st_size}; {remedy}")


def read_file(path: Path, max_bytes: int, remedy: str) -> bytes:
    """Read all bytes of a file. Arguments and errors are those of :func:`open_file`."""
    with open_file(path, max_bytes, remedy) as file:
        try:
            # not beyond its size, because a file may grow; one byte at least, because only reading shows some errors
            return file.read(max(1, os.fstat(file.fileno()).st_size))
        except OSError as error:
            raise _unreadable(path, error) from None


def names_in(folder: Path) -> set[str]:
    """Names of all entries of a folder; an empty set if the folder does not exist.

    Raises:
        OSError: The path is not a folder, or the folder cannot be read.
    """
    try:
        return {entry.name for entry in folder.iterdir()}
    except FileNotFoundError:
        return set()
    except (OSError, ValueError) as error:
        raise _unreadable(folder, error) from None


def _root_above(path: Path) -> str:
    """Advice if a root was given one folder too deep, as with ``digits/mnist`` in ``digits/mnist/mnist/file``."""
    folder = path.parent
    if folder.name != folder.parent.name or not (folder.parent / path.name).exists():
        return ""
    return f"root is one folder too deep, give {folder.parent.parent}; "


def _unreadable(path: Path, error: OSError | ValueError) -> OSError | ValueError:
    """The error for a path that the system refuses; a ``ValueError`` if it cannot be a path, as with a null byte."""
    kind = OSError if isinstance(error, OSError) else ValueError
    reason = getattr(error, "strerror", None) or error
    return kind(f"{path}: cannot be read ({reason}); check the permissions, and the targets of symbolic links")
