"""A recipe whose process dies in the first run of each folder that the environment names."""

import os
import signal
from collections.abc import Sequence
from pathlib import Path

from recipes import shift


def main(args: Sequence[str] | None = None, folder: Path | None = None):
    if folder is not None and os.environ.get("FRAGILE", "nothing") in str(folder):
        mark = folder.with_name("was_killed")
        if not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
    return shift.main(args, folder=folder)
