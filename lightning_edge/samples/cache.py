"""Sample data sets are made once and kept in the user's cache folder."""

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
"""File with the size of each other one, in bytes."""
_NUM_SYNCS = 16
"""At once: a disk writes many files in hardly more time than one."""


def cache_root() -> Path:
    """Folder of all sample data: ``LIGHTNING_EDGE_CACHE`` if set, else ``~/.cache/lightning_edge``.

    Raises:
        OSError: The user has no home.
    """
    chosen = os.environ.get("LIGHTNING_EDGE_CACHE")
    try:
        return Path(chosen).expanduser() if chosen else Path.home() / ".cache" / "lightning_edge"
    except RuntimeError as error:
        raise OSError(
            f"no folder for sample data is known ({error}); set the environment variable LIGHTNING_EDGE_CACHE to one"
        ) from None


def make_once(layout: str, version: int, arguments: Mapping[str, object], write: Callable[[Path], None]) -> Path:
    """Folder of a data set, written by ``write(folder)`` unless it is there already.

    The data set is written beside its place and moved there when it is complete and safe on the disk, so that an
    interrupted run leaves nothing that looks finished, and two processes that make the same one both get a complete
    one. A data set that has lost a file, or of which a file was cut, is made again.

    Args:
        layout: Start of the folder's name.
        version: Of what generates it.
        arguments: What else the content depends on; plain JSON values.
        write: Fills an empty folder.

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
    """Whether each file that was generated is there, and as long as it was then."""
    try:
        sizes = json.loads((place / _SIZES).read_bytes())
        return all((place / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError, AttributeError):  # the list of them is damaged too
        return False


def _sizes(folder: Path) -> dict[str, int]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.stat().st_size for path in files}


def _sync(folder: Path) -> None:
    """Wait until all that is in a folder is on the disk: a power failure would else leave empty files."""
    with ThreadPoolExecutor(_NUM_SYNCS) as pool:
        list(pool.map(_sync_file, (path for path in folder.rglob("*") if path.is_file())))


def _sync_file(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _remove_damaged(place: Path) -> None:
    """Take an incomplete data set away, unless another process has done so and may have made a new one by now."""
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
    """Remove what processes that were killed left beside ``place``."""
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
    """Say of an error of the system what can be done about it."""
    try:
        yield
    except OSError as error:
        raise OSError(
            f"{root}: sample data cannot be kept there ({error}); make room in it and the right to write, or set the "
            "environment variable LIGHTNING_EDGE_CACHE to another folder"
        ) from None
