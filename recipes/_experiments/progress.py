"""What many runs say while they run: a line for each finished one, and below them how far the others are."""

import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from recipes._experiments.jobs import Backend, Job, run_jobs

_SECONDS = 2.0


def run_with_progress(
    jobs: Sequence[Job],
    backend: Backend,
    title: str,
    describe: Callable[[Job], str],
    how_far: Callable[[], str] = str,
    address: str | None = None,
) -> Iterator[Job]:
    """Run jobs, and give each back once it is done; finished ones at once.

    Args:
        jobs: What to run.
        backend: As in :func:`~recipes._experiments.jobs.run_jobs`.
        title: What is run, in a line.
        describe: Says in a line what became of a finished job.
        how_far: Says how far the unfinished jobs are.
        address: As in :func:`~recipes._experiments.jobs.run_jobs`.

    Raises:
        SystemExit: After Ctrl-C, with 130.
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
            if isinstance(stop, SystemExit) and stop.code != 130:
                raise  # the recipe has said what it refuses
            num_done = progress.tasks[0].completed
            console.print(f"Interrupted after {num_done:.0f} of {len(jobs)} runs. Repeat the command to continue.")
            sys.exit(130)


@contextmanager
def _watched(progress: Progress, task: TaskID, how_far: Callable[[], str]) -> Iterator[None]:
    """Say every few seconds how far the runs are; a trainer in this process leaves no other chance."""
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
