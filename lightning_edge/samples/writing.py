"""What all writers share: image files, work spread over processes, visible progress."""

import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import current_process, get_context
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np

logger = logging.getLogger(__name__)
Job = TypeVar("Job")
PROCESSES = 2
FEW_JOBS = 8
"""So few are done in this process: starting others would take longer."""
REPORT_EVERY_S = 5.0


def write_rgb(path: Path, image: np.ndarray) -> None:
    """Write an RGB image as PNG."""
    write_map(path, cv2.cvtColor(image, cv2.COLOR_RGB2BGR))


def write_map(path: Path, values: np.ndarray) -> None:
    """Write uint8 or uint16 values as they are, as PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), values):
        raise OSError(f"could not write {path}")


def run_jobs(work: Callable[[Job], None], jobs: Sequence[Job], name: str) -> None:
    """Do independent jobs, two at a time where it pays; what they write does not depend on that."""
    started = reported = time.monotonic()
    done = 0
    for _ in _results(work, jobs):
        done += 1
        if time.monotonic() - reported > REPORT_EVERY_S:
            reported = time.monotonic()
            logger.warning("%s: %d of %d parts in %.0f s", name, done, len(jobs), reported - started)


def _results(work: Callable[[Job], None], jobs: Sequence[Job]):  # noqa: ANN202
    # a daemonic process (a data loader's worker) may not have children
    if len(jobs) <= FEW_JOBS or current_process().daemon:
        yield from map(work, jobs)
        return
    # forking a process with running threads (torch) can deadlock, hence spawn
    with ProcessPoolExecutor(PROCESSES, mp_context=get_context("spawn"), initializer=_use_one_thread) as pool:
        for future in as_completed([pool.submit(work, job) for job in jobs]):
            yield future.result()


def _use_one_thread() -> None:
    cv2.setNumThreads(1)
