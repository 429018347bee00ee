"""Cache of generated sample data sets in the user's cache folder."""

import hashlib
import json
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock

logger = logging.getLogger(__name__)
LEFTOVER_AFTER_S = 24 * 3600
_SIZES = ".files.json"
"""File with the size of every other file, in bytes."""
_NUM_SYNCS = 16
"""Number of files that are synced at once, because a disk writes many files in hardly more time than one."""


def cache_root() -> Path:
    """Folder of all sample data: ``LIGHTNING_EDGE_CACHE`` if set, else ``~/.cache/lightning_edge``.

    Raises:
        OSError: The user has no home folder.
    """
    chosen = os.environ.get("LIGHTNING_EDGE_CACHE")
    try:
        return Path(chosen).expanduser() if chosen else Path.home() / ".cache" / "lightning_edge"
    except RuntimeError as error:
        raise OSError(
            f"no folder for sample data is known ({error}); set the environment variable LIGHTNING_EDGE_CACHE to one"
        ) from None


def make_once(layout: str, version: int, arguments: Mapping[str, object], write: Callable[[Path], None]) -> Path:
    """Folder of a data set, which is written by ``write(folder)`` unless it already exists.

    The data set is written to a temporary folder and moved when it is complete and synced to the disk. So an
    interrupted run leaves no incomplete data set, and two processes that generate the same data set both get a complete
    one. A data set with a missing or truncated file is generated again.

    Args:
        layout: Start of the folder's name.
        version: Version of the generator.
        arguments: All other arguments that determine the content, as plain JSON values.
        write: Function that writes the data set into an empty folder.

    Raises:
        OSError: The cache cannot be written.
    """
    digest = hashlib.sha256(json.dumps(dict(arguments), sort_keys=True).encode()).hexdigest()[:12]
    place = cache_root() / f"{layout}-v{version}-{digest}"
    if _is_complete(place):
        return place
    with _explained(place.parent):
        if place.is_dir():
            _remove_damaged(place)
        if not _is_complete(place):
            logger.warning("making sample data set %s (generator version %d) in %s", layout, version, place)
            _make(place, write)
    return place


def _make(place: Path, write: Callable[[Path], None]) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(place)
    aside = _aside(place)
    try:
        write(aside)
        (aside / _SIZES).write_text(json.dumps(_sizes(aside)))
        _sync(aside)
        aside.chmod(0o755)
        _move(aside, place)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _aside(place: Path) -> Path:
    return Path(tempfile.mkdtemp(prefix=f".{place.name}-", dir=place.parent))


def _is_complete(place: Path) -> bool:
    """Whether each generated file exists and has its original size."""
    try:
        sizes = json.loads((place / _SIZES).read_bytes())
        return all((place / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError, AttributeError):  # the list of them is damaged too
        return False


def _sizes(folder: Path) -> dict[str, int]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.stat().st_size for path in files}


def _sync(folder: Path) -> None:
    """Sync all files of a folder to the disk. Otherwise a power failure could leave empty files."""
    with ThreadPoolExecutor(_NUM_SYNCS) as pool:
        list(pool.map(_sync_file, (path for path in folder.rglob("*") if path.is_file())))


def _sync_file(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _remove_damaged(place: Path) -> None:
    """Remove an incomplete data set, unless another process did so and may already have created a new one."""
    lock = FileLock(place.parent / f".{place.name}.lock")
    with lock:
        if place.is_dir() and not _is_complete(place):
            logger.warning(
                "files are missing in %s or are damaged: they were generated, and the data set is made again", place
            )
            aside = _aside(place)
            place.rename(aside / place.name)  # at once, so that nobody takes what is half removed for a data set
            shutil.rmtree(aside, ignore_errors=True)
        Path(lock.lock_file).unlink(missing_ok=True)


def _remove_leftovers(place: Path) -> None:
    """Remove temporary folders beside ``place`` that killed processes left."""
    for aside in place.parent.glob(f".{place.name}-*"):
        with suppress(FileNotFoundError):  # another process may do the same
            if time.time() - aside.stat().st_mtime > LEFTOVER_AFTER_S:
                shutil.rmtree(aside, ignore_errors=True)


def _move(aside: Path, place: Path) -> None:
    try:
        aside.rename(place)
    except OSError:
        # another process was faster, and its copy is as good as ours
        if not place.is_dir():
            raise


@contextmanager
def _explained(root: Path) -> Iterator[None]:
    """Add a remedy to an error of the operating system."""
    try:
        yield
    except OSError as error:
        raise OSError(
            f"{root}: sample data cannot be kept there ({error}); make room in it and the right to write, or set the "
            "environment variable LIGHTNING_EDGE_CACHE to another folder"
        ) from None
