"""What a sweep says while it runs: one line for each finished run, and below them how far the others are."""

import csv
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from recipes._jobs import Runner, run_jobs
from recipes._scaling_plan import PlannedRun, Sweep, in_words

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_SECONDS = 2.0


def run_all(plan: Sweep, folder: Path, on: Runner, address: str | None) -> None:
    """Run what a sweep consists of, but for what is there."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True, soft_wrap=True, highlight=False)
    runs = {plan.job(run, folder).folder.absolute(): run for run in plan.runs()}
    jobs = [plan.job(run, folder) for run in runs.values()]
    console.print(in_words(plan))
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=len(runs))
        try:
            with _watched(progress, task, runs, plan):
                for number, job in enumerate(run_jobs(jobs, on, address), 1):
                    progress.advance(task)
                    line = in_a_line(runs[job.folder.absolute()], plan, job.folder)
                    console.print(f"  {number}/{len(runs)}  {line}")
        except (KeyboardInterrupt, SystemExit) as stop:
            if isinstance(stop, SystemExit) and stop.code != 130:
                raise  # the recipe has said what it refuses
            num_done = progress.tasks[0].completed
            console.print(f"Interrupted after {num_done:.0f} of {len(runs)} runs; to go on, repeat the command.")
            sys.exit(130)


def in_a_line(run: PlannedRun, plan: Sweep, folder: Path) -> str:
    """What became of a run."""
    from lightning_edge.systems.scaling_run import read_run

    found = read_run(folder)
    last = found.evaluations[-1]
    spent = f"{last.examples:,} examples, {last.seconds:.3g} s"
    if found.facts.outcome == "reached" and plan.target is not None:
        step = found.hit(plan.target, plan.split)
        return f"{run}: {plan.target:g} at step {step:,.0f}, {step * run.size:,.0f} examples, {last.seconds:.3g} s"
    if found.facts.outcome == "diverged":
        return f"{run}: diverged at step {last.step:,}, {spent}"
    best = found.lowest(plan.split)
    missed = f"{plan.target:g} not reached, lowest loss" if plan.target is not None else "lowest loss"
    return f"{run}: {missed} {best:.4g} (median of {found.facts.window}) in {last.step:,} steps, {spent}"


@contextmanager
def _watched(progress: "Progress", task: "TaskID", runs: Mapping[Path, PlannedRun], plan: Sweep) -> Iterator[None]:
    """Tell every few seconds how far the run is that wrote last; a trainer in this process leaves no other chance."""
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(_SECONDS):
            progress.update(task, description=_how_far(runs, plan))

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _how_far(runs: Mapping[Path, PlannedRun], plan: Sweep) -> str:
    from lightning_edge.systems.scaling_run import TABLE

    tables = [
        (table.stat().st_mtime, table, run)
        for folder, run in runs.items()
        if not (folder / "done.json").exists()
        for table in folder.glob(f"*/{TABLE}")
    ]
    if not tables:
        return ""
    _, table, run = max(tables)
    try:
        with table.open(newline="") as file:
            last = list(csv.DictReader(file))[-1]
        share, loss = int(last["examples"]) / plan.max_examples, float(last[f"{plan.split}_loss"])
    except (OSError, LookupError, TypeError, ValueError):  # cut, or of a run that has begun anew; the run will say it
        return ""
    goal = f"{loss:.3g} of {plan.target:.3g}" if plan.target is not None else f"{loss:.3g}"
    return f"{run}: {min(share, 1):.0%}, loss {goal}"
