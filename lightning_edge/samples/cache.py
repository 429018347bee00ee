"""Sample data sets are made once and kept in the user's cache folder."""

import hashlib
import json
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

logger = logging.getLogger(__name__)
LEFTOVER_AFTER_S = 24 * 3600
_COUNT = ".num_files"
"""File that says how many others there are."""


def cache_root() -> Path:
    """Folder of all sample data: ``LIGHTNING_EDGE_CACHE`` if set, else ``~/.cache/lightning_edge``."""
    chosen = os.environ.get("LIGHTNING_EDGE_CACHE")
    return Path(chosen).expanduser() if chosen else Path.home() / ".cache" / "lightning_edge"


def make_once(layout: str, version: int, arguments: Mapping[str, object], write: Callable[[Path], None]) -> Path:
    """Folder of a data set, written by ``write(folder)`` unless it is there already.

    The data set is written beside its place and moved there when complete, so that an interrupted run leaves nothing
    that looks finished, and two processes that make the same one both get a complete one.

    Args:
        layout: Start of the folder's name.
        version: Of what generates it.
        arguments: What else the content depends on; plain JSON values.
        write: Fills an empty folder.
    """
    digest = hashlib.sha256(json.dumps(dict(arguments), sort_keys=True).encode()).hexdigest()[:12]
    place = cache_root() / f"{layout}-v{version}-{digest}"
    if _is_complete(place):
        return place
    if place.is_dir():
        logger.warning("files are missing in %s: it is made again", place)
        shutil.rmtree(place)
    place.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(place)
    logger.warning("making sample data set %s (generator version %d) in %s", layout, version, place)
    aside = Path(tempfile.mkdtemp(prefix=f".{place.name}-", dir=place.parent))
    try:
        write(aside)
        (aside / _COUNT).write_text(str(_count_files(aside)))
        aside.chmod(0o755)
        _move(aside, place)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return place


def _is_complete(place: Path) -> bool:
    count = place / _COUNT
    return count.is_file() and _count_files(place) >= int(count.read_text())


def _count_files(folder: Path) -> int:
    return sum(name != _COUNT for _, _, names in os.walk(folder) for name in names)


def _remove_leftovers(place: Path) -> None:
    """Remove what processes that were killed left beside ``place``."""
    for aside in place.parent.glob(f".{place.name}-*"):
        if time.time() - aside.stat().st_mtime > LEFTOVER_AFTER_S:
            shutil.rmtree(aside, ignore_errors=True)


def _move(aside: Path, place: Path) -> None:
    try:
        aside.rename(place)
    except OSError:
        # another process was faster, and its copy is as good as ours
        if not place.is_dir():
            raise
