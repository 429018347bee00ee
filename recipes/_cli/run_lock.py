"""One process to a folder: what else is started for it is refused.

Heavy imports wait, as in the command line.
"""

import errno
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout
from lightning.pytorch.utilities import rank_zero_only

from callbacks.atomic_checkpoint import remove_leftovers

LOCK = "run.lock"
"""File in the folder of a run that is at work; of a killed one it stays, and hinders nobody."""

_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP)
"""What a file system says that has no locks, as some of clusters: a run works there, only nothing refuses a second."""


class RunLock:
    """Hold a folder for this process until ``release``, or until the process ends, however it ends.

    Processes that Lightning starts for a run belong to it and take no lock of their own. What killed processes have
    left of unfinished files is removed.

    Args:
        folder: Where the run writes; made if there is none.

    Raises:
        ValueError: Another process is at work there.
        OSError: The folder cannot be written to.
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
                f"expected {folder} to have no run at work, got one of another process: wait for it, or use another "
                "folder"
            ) from None
        except (OSError, NotImplementedError) as error:
            if isinstance(error, NotImplementedError) or error.errno in _NO_LOCKS:
                return
            raise unwritable(folder, error) from error
        self._lock = lock
        for written in (folder, folder / "checkpoints"):
            remove_leftovers(written)

    def release(self) -> None:
        """Give the folder back; a second call does nothing."""
        if self._lock is None:
            return
        with suppress(OSError):  # some systems keep what is open
            self._path.unlink()
        self._lock.release()
        self._lock = None


def unwritable(folder: Path, error: OSError) -> OSError:
    """What to say of a folder that a run cannot write to."""
    return OSError(
        f"the run cannot write to its folder {folder} ({error.strerror or error}): choose another one with "
        "--trainer.default_root_dir, or with save_dir where the CSVLogger has an absolute one"
    )
