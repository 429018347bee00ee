"""One-line messages for errors that a user can understand and correct."""

import errno
import re
import traceback
from pathlib import Path

import lightning
from lightning.fabric.utilities.exceptions import MisconfigurationException

_THAT_REFUSE = (
    *(Path(__file__).parents[2] / name for name in ("lightning_edge", "callbacks", "recipes")),
    Path(lightning.__file__).parent,
)
"""Folders of code whose ``ValueError`` is about the user's input."""
IN_A_WORKER = re.compile(
    r'Caught \w+ in DataLoader worker process.*\n  File "(?P<file>[^"]+)", line .*?\n\w+: (?P<message>.*)', re.DOTALL
)
"""An error in a worker of torch's data loader, which only its text tells apart; ``tests/upgrade/test_torch.py``."""
_IS_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_WRITE_ELSEWHERE = "choose another folder with --trainer.default_root_dir"


def explain_failure(error: BaseException) -> str | None:
    """The message of an error about the user's input, or ``None`` if the traceback is needed.

    Such errors are those that this library raises on purpose, also in a worker of a data loader, Lightning's errors
    about its arguments, and errors of the operating system about a full disk or a named file. Any other error is a bug
    in the library or in a user's own class.
    """
    if isinstance(error, MisconfigurationException):
        return str(error)
    is_missing_extra = isinstance(error, ImportError) and error.name is None  # errors of Python itself have a name
    if not (is_missing_extra or isinstance(error, ValueError | OSError)):
        return None
    if in_a_worker := IN_A_WORKER.match(str(error)):
        message = in_a_worker["message"].rstrip()
        return message if _refuses(in_a_worker["file"]) or message.startswith("[Errno ") else None
    if isinstance(error, OSError) and (message := _refused_by_the_system(error)):
        return message
    *_, (innermost, _) = traceback.walk_tb(error.__traceback__)
    return str(error).strip() if _refuses(innermost.f_code.co_filename) else None


def _refused_by_the_system(error: OSError) -> str | None:
    file = f"{error.filename}: " if error.filename is not None else ""
    if error.errno in _IS_FULL:
        return f"{file}{error.strerror}. Free some disk space, or {_WRITE_ELSEWHERE}"
    if error.errno == errno.EROFS:
        return f"{file}{error.strerror}. To write elsewhere, {_WRITE_ELSEWHERE}"
    return f"{file}{error.strerror}" if file else None


def _refuses(file: str) -> bool:
    return any(Path(file).is_relative_to(folder) for folder in _THAT_REFUSE)
