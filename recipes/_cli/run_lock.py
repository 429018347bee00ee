"""A lock that lets only one process run in a folder.

Heavy imports are delayed, as in the command line.
"""

import errno
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout
from lightning.pytorch.utilities import rank_zero_only

from lightning_edge.atomic_files import remove_leftovers

LOCK = "run.lock"
"""File in the folder of a running process. After a kill it remains, but it locks nothing."""

_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP)
"""Errors of file systems without locks, as on some clusters. A run works there, but a second one is not refused."""


class RunLock:
    """Lock a folder for this process until ``release``, or until the process ends in any way.

    Processes that Lightning starts for a run share its lock. Unfinished files that killed processes left in the folder
    are removed.

    Args:
        folder: The folder of the run. It is created if it does not exist.

    Raises:
        ValueError: Another process is already running in the folder.
        OSError: The folder is not writable.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / LOCK
        self._lock: FileLock | None = None
        if not rank_zero_only(lambda: True, default=False)():
            return
        lock = FileLock(self._path)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout=0)
        except Timeout:
            raise ValueError(
                f"Another process is already running in {folder}. Wait until it ends, or use another folder."
            ) from None
        except (OSError, NotImplementedError) as error:
            if isinstance(error, NotImplementedError) or error.errno in _NO_LOCKS:
                return
            raise unwritable(folder, error) from error
        self._lock = lock
        for written in (folder, folder / "checkpoints"):
            remove_leftovers(written)

    def release(self) -> None:
        """Unlock the folder; a second call does nothing."""
        if self._lock is None:
            return
        with suppress(OSError):  # some systems cannot remove an open file
            self._path.unlink()
        self._lock.release()
        self._lock = None


def unwritable(folder: Path, error: OSError) -> OSError:
    """The error for a folder that is not writable."""
    return OSError(
        f"the run cannot write to its folder {folder} ({error.strerror or error}): choose another one with "
        "--trainer.default_root_dir, or with save_dir if the CSVLogger has an absolute one"
    )
