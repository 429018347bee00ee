"""Progress of many runs: a line for each finished one, and the state of the others below."""

import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from recipes._experiments.jobs import Backend, Job, run_jobs

_SECONDS = 2.0
_INTERRUPTED = (130, 143)
"""Exit status of a run after Ctrl-C and after SIGTERM."""


def run_with_progress(
    jobs: Sequence[Job],
    backend: Backend,
    title: str,
    describe: Callable[[Job], str],
    how_far: Callable[[], str] = str,
    address: str | None = None,
) -> Iterator[Job]:
    """Run jobs, and yield each one when it is done. Jobs that were finished before are yielded first.

    Args:
        jobs: The jobs to run.
        backend: ``process`` or ``ray``, see :func:`~recipes._experiments.jobs.run_jobs`.
        title: Line that describes all jobs.
        describe: Returns a line about the result of a finished job.
        how_far: Returns the progress of the unfinished jobs.
        address: Address of a running Ray, see :func:`~recipes._experiments.jobs.run_jobs`.

    Raises:
        SystemExit: With status 130 after Ctrl-C, with status 143 after SIGTERM.
    """
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    console.print(title)
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=len(jobs))
        try:
            with _watched(progress, task, how_far):
                for number, job in enumerate(run_jobs(jobs, backend, address), 1):
                    progress.advance(task)
                    console.print(f"  {number}/{len(jobs)}  {describe(job)}")
                    yield job
        except (KeyboardInterrupt, SystemExit) as stop:
            if isinstance(stop, SystemExit) and stop.code not in _INTERRUPTED:
                raise  # the recipe has printed its error
            num_done = progress.tasks[0].completed
            console.print(f"Interrupted after {num_done:.0f} of {len(jobs)} runs. Repeat the command to continue.")
            sys.exit(stop.code if isinstance(stop, SystemExit) else _INTERRUPTED[0])


@contextmanager
def _watched(progress: Progress, task: TaskID, how_far: Callable[[], str]) -> Iterator[None]:
    """Update the progress every few seconds in a thread, because a trainer may occupy the main thread."""
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(_SECONDS):
            progress.update(task, description=how_far())

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
