"""Progress of a sweep: a line for each finished run, and the progress of the run that wrote last."""

import csv
from collections.abc import Mapping
from pathlib import Path

from lightning_edge.analysis.scaling_run import TABLE, read_run
from recipes._experiments.jobs import Backend
from recipes._experiments.progress import run_with_progress
from recipes.batch_size_scaling._plan import PlannedRun, Sweep, in_words


def run_all(plan: Sweep, folder: Path, backend: Backend, address: str | None) -> None:
    """Run all unfinished runs of a sweep."""
    jobs = {plan.job(run, folder): run for run in plan.runs()}
    runs = {job.folder.absolute(): run for job, run in jobs.items()}
    finished = run_with_progress(
        list(jobs),
        backend,
        in_words(plan),
        lambda job: in_a_line(runs[job.folder.absolute()], plan, job.folder),
        lambda: _how_far(runs, plan),
        address,
    )
    for _ in finished:
        pass


def in_a_line(run: PlannedRun, plan: Sweep, folder: Path) -> str:
    """The result of a run in one line."""
    record = read_run(folder)
    last = record.evaluations[-1]
    spent = f"{last.examples:,} examples, {last.seconds:.3g} s"
    if record.metadata.outcome == "reached" and plan.target is not None:
        step = record.time_to_target(plan.target, plan.split)
        return f"{run}: {plan.target:g} at step {step:,.0f}, {step * run.size:,.0f} examples, {last.seconds:.3g} s"
    if record.metadata.outcome == "diverged":
        return f"{run}: diverged at step {last.step:,}, {spent}"
    best = record.lowest(plan.split)
    missed = f"{plan.target:g} not reached, lowest loss" if plan.target is not None else "lowest loss"
    return f"{run}: {missed} {best:.4g} (median of {record.metadata.window}) in {last.step:,} steps, {spent}"


def _how_far(runs: Mapping[Path, PlannedRun], plan: Sweep) -> str:
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
    except (
        OSError,
        LookupError,
        TypeError,
        ValueError,
    ):  # truncated, or of a run that has restarted; the run itself reports it
        return ""
    goal = f"{loss:.3g} of {plan.target:.3g}" if plan.target is not None else f"{loss:.3g}"
    return f"{run}: {min(share, 1):.0%}, loss {goal}"
