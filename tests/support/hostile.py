"""What may lie in the place of a file, and how much memory a reader takes."""

import os
import socket
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any


def put_folder(path: Path) -> None:
    path.mkdir()


def put_pipe(path: Path) -> None:
    os.mkfifo(path)


def put_endless_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def put_loop(path: Path) -> None:
    path.symlink_to(path.name)


def put_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        folder = os.open(path.parent, os.O_RDONLY)
        server.bind(f"/proc/self/fd/{folder}/{path.name}")  # names of sockets must be short
        os.close(folder)


def put_huge(path: Path) -> None:
    """A file of holes, which takes no room."""
    with path.open("wb") as file:
        file.truncate(2**40)


NO_FILES: dict[str, tuple[Callable[[Path], None], str]] = {
    "a folder": (put_folder, "expected a file, got a folder"),
    "a named pipe": (put_pipe, "expected a file, got a named pipe"),
    "an endless device": (put_endless_device, "expected a file, got a device"),
    "a socket": (put_socket, "expected a file, got a socket"),
    "a loop of links": (put_loop, r"cannot be read \(Too many levels of symbolic links\)"),
    "a huge file": (put_huge, "expected a file of at most .* bytes, got 1099511627776"),
}
"""What takes the place of a file, and what is said of it after its name."""


def put(kind: str, path: Path) -> str:
    """Replace a file; return the pattern of the error that must follow."""
    path.unlink(missing_ok=True)
    make, message = NO_FILES[kind]
    make(path)
    return f"{path.name}: {message}"


def peak_bytes(call: Callable[[], Any]) -> int:
    """Most memory that Python and NumPy took at a time during a call."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
