"""Files that a user names: regular ones of a bounded size, and one clear line for whatever else lies in their place."""

import stat
from pathlib import Path
from typing import BinaryIO

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}


def open_file(path: Path, max_bytes: int, remedy: str) -> BinaryIO:
    """Open a file for reading; pipes and devices, which may never end, are not opened at all.

    Args:
        path: The file.
        max_bytes: Refuse a larger file, before anything of it is read.
        remedy: What to do if the file is missing or is not the right one, such as where to get it.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no regular file, is too large, or the system does not let it be read.
    """
    try:
        status = path.stat()
        if stat.S_ISREG(status.st_mode) and status.st_size <= max_bytes:
            return path.open("rb")
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: expected this file, found none; {remedy}") from None
    except (OSError, ValueError) as error:
        raise ValueError(_refused(path, error)) from None
    if not stat.S_ISREG(status.st_mode):
        kind = _KINDS.get(stat.S_IFMT(status.st_mode), "something else")
        raise ValueError(f"{path}: expected a file, got {kind}; {remedy}")
    raise ValueError(f"{path}: expected a file of at most {max_bytes} bytes, got {status.st_size}; {remedy}")


def read_file(path: Path, max_bytes: int, remedy: str) -> bytes:
    """All bytes of a file, with the arguments and the errors of :func:`open_file`."""
    with open_file(path, max_bytes, remedy) as file:
        try:
            return file.read()
        except OSError as error:
            raise ValueError(_refused(path, error)) from None


def names_in(folder: Path) -> set[str]:
    """Names of what a folder holds; none if there is no such folder.

    Raises:
        ValueError: It is no folder, or the system does not let it be read.
    """
    try:
        return {entry.name for entry in folder.iterdir()}
    except FileNotFoundError:
        return set()
    except (OSError, ValueError) as error:
        raise ValueError(_refused(folder, error)) from None


def _refused(path: Path, error: OSError | ValueError) -> str:
    reason = getattr(error, "strerror", None) or error
    return f"{path}: cannot be read ({reason}); check that this user may read it, and where its links lead"
