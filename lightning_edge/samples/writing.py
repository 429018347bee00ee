"""Functions that all writers share: image files, work in two processes, and a progress display."""

import logging
import os
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np

logger = logging.getLogger(__name__)
Job = TypeVar("Job")
PROCESSES = 2
FEW_JOBS = 8
"""Largest number of jobs that are done in this process, because starting another would take longer."""
REPORT_EVERY_S = 5.0
_RUN_FROM_STDIN = "from lightning_edge.samples.writing import run_from_stdin; run_from_stdin()"


def write_rgb(path: Path, image: np.ndarray) -> None:
    """Write an RGB image as PNG."""
    write_map(path, cv2.cvtColor(image, cv2.COLOR_RGB2BGR))


def write_jpeg(path: Path, image: np.ndarray, quality: int = 95) -> None:
    """Write an RGB image as JPEG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality]):
        raise OSError(f"could not write {path}")


def write_map(path: Path, values: np.ndarray) -> None:
    """Write uint8 or uint16 values unchanged as PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), values):
        raise OSError(f"could not write {path}")


def run_jobs(work: Callable[[Job], None], jobs: Sequence[Job], name: str) -> None:
    """Run independent jobs, half of them in a second process if that is faster. The output does not depend on it.

    The second process does not use ``multiprocessing``. That would import the user's script again, which breaks scripts
    without a main guard, or copy a process whose threads can hold locks.

    Args:
        work: Function that does one job. It and the jobs must be picklable.
        jobs: The jobs.
        name: Name of the data for the progress messages.

    Raises:
        OSError: A file could not be written.
        RuntimeError: The second process failed. Its error was printed.
    """
    if len(jobs) <= FEW_JOBS:
        _run(work, jobs, name)
        return
    paths = os.pathsep.join(path or os.getcwd() for path in sys.path)  # noqa: PTH109
    other = subprocess.Popen(
        [sys.executable, "-c", _RUN_FROM_STDIN],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": paths},
    )
    assert other.stdin is not None
    assert other.stdout is not None
    error_of_other = other.stdout

    def check_other() -> None:
        if not other.poll():
            return
        if text := error_of_other.read().decode(errors="replace"):
            raise OSError(text)
        raise RuntimeError(f"expected the second process of {name} to end with 0, got {other.returncode}")

    try:
        with suppress(BrokenPipeError):  # it has ended, which the check finds
            pickle.dump((work, list(jobs[1::PROCESSES])), other.stdin)
            other.stdin.flush()  # and not closed, for it ends when this process does
        _run(work, jobs[::PROCESSES], name, check_other)
        other.wait()
        check_other()
    finally:
        other.kill()
        other.communicate()


def run_from_stdin() -> None:
    """Do the jobs that another process sends until that process ends. System errors are written to stdout for it."""
    cv2.setNumThreads(1)
    report = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what jobs print must not fill the pipe, which is read at the end only
    try:
        work, jobs = pickle.load(sys.stdin.buffer)
    except (EOFError, pickle.UnpicklingError):  # the other process has ended before all was sent
        sys.exit(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        for job in jobs:
            work(job)
    except OSError as error:
        with report:
            report.write(str(error))
        sys.exit(1)


def _end_with_parent() -> None:
    """End this process when the process that sends the jobs has ended, which closes its end of the pipe."""
    os.read(sys.stdin.fileno(), 1)
    os._exit(1)


def _run(work: Callable[[Job], None], jobs: Sequence[Job], name: str, check: Callable[[], None] = lambda: None) -> None:
    started = reported = time.monotonic()
    for done, job in enumerate(jobs, start=1):
        work(job)
        check()
        now = time.monotonic()
        if now - reported > REPORT_EVERY_S:
            reported = now
            logger.warning("%s: about %.0f %% in %.0f s", name, 100 * done / len(jobs), now - started)
