"""Many runs of recipes, one after the other in this process or in parallel on Ray."""

import io
import logging
import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, Literal, NamedTuple

from lightning_edge.atomic_files import replace_file
from lightning_edge.checkpoints import last_checkpoint
from recipes._cli.run_config import run_config
from recipes._cli.run_record import DONE, check_arguments, metrics_of_finished, write_json

Backend = Literal["process", "ray"]

MAX_RETRIES = 3
"""How often a run is restarted after its worker was lost."""

_MAX_BYTES = 2**24
"""Files that are larger, mostly checkpoints, are not copied from the worker."""


class Job(NamedTuple):
    """One run of :func:`~recipes._cli.command_line.run_config`."""

    recipe: str
    arguments: tuple[str, ...]
    folder: Path
    command: str = "fit"
    starts_from: Path | None = None
    """Folder of the job whose checkpoint this job starts from."""
    reinitialized: tuple[str, ...] = ()
    """Parts of the module that a fit does not load from that checkpoint."""
    checkpoint: str | None = None
    """Name of that checkpoint, such as ``best``; the newest one if ``None``."""


def run_jobs(jobs: Sequence[Job], backend: Backend = "process", address: str | None = None) -> Iterator[Job]:
    """Run jobs, and yield each one when it is done. Jobs that were finished before are yielded first.

    If the worker of a job on Ray dies, the job is restarted. It resumes from its last checkpoint if the workers share
    the folder. Otherwise the files of a run are copied to this machine, except checkpoints and files above 16 MiB.

    Args:
        jobs: The jobs, each with its own folder. A job that starts from another one must come after it.
        backend: ``process`` runs the jobs in this process. ``ray`` runs them on Ray's workers, one for each GPU that
            Ray knows, or one for each core if there is no GPU.
        address: Address of a running Ray cluster, such as ``auto``. ``None`` uses a Ray that runs on this machine, or
            starts one until the jobs are done.

    Raises:
        ImportError: Ray is not installed.
        ValueError: The arguments of a run are invalid, or a folder has a finished run with other arguments.
    """
    to_do = [job for job in jobs if metrics_of_finished(job.folder) is None]
    for job in jobs:
        if job not in to_do:
            check_arguments(job.folder, job.arguments)
    yield from (job for job in jobs if job not in to_do)
    yield from (_in_process(to_do) if backend == "process" else _on_ray(to_do, address))


def _in_process(jobs: Sequence[Job]) -> Iterator[Job]:
    for job in jobs:
        _run(job)
        yield job


def _run(job: Job) -> None:
    with _silenced():
        try:
            run_config(job.recipe, [*job.arguments, *_start(job)], job.folder, job.command)
        except FloatingPointError:  # a divergence is a result, and it would happen again
            job.folder.mkdir(parents=True, exist_ok=True)
            write_json(job.folder / DONE, {})


def _start(job: Job) -> list[str]:
    """Arguments that load the checkpoint that a job starts from."""
    if job.starts_from is None:
        return []
    checkpoint = last_checkpoint(job.starts_from, job.checkpoint)
    if checkpoint is None and _has_diverged(job.starts_from):
        raise FloatingPointError(f"expected a checkpoint in {job.starts_from}, got a training that diverged")
    if checkpoint is None:
        name = "a checkpoint" if job.checkpoint is None else f"{job.checkpoint}.ckpt"
        raise FileNotFoundError(
            f"expected {name} in {job.starts_from} for the run in {job.folder}, got none: a run that starts from "
            "another one needs a folder that all workers share"
        )
    if job.command != "fit":
        return [f"--ckpt_path={checkpoint}"]
    warm_start = ["--trainer.callbacks+=callbacks.WarmStart", f"--trainer.callbacks.checkpoint={checkpoint}"]
    exclude = [f"--trainer.callbacks.exclude=[{','.join(job.reinitialized)}]"] if job.reinitialized else []
    return [*warm_start, *exclude]


def _has_diverged(folder: Path) -> bool:
    """Whether the finished training of a folder ended with a loss that is not finite."""
    metrics = metrics_of_finished(folder)
    return metrics is not None and not math.isfinite(metrics.get("train/loss", math.nan if not metrics else 0.0))


def _on_ray(jobs: Sequence[Job], address: str | None) -> Iterator[Job]:
    try:
        import ray
        from ray.exceptions import RayTaskError
    except ImportError:
        raise ImportError("Ray is not installed; install it with `pip install lightning-edge[ray]`") from None

    jobs = [
        job._replace(folder=job.folder.absolute(), starts_from=job.starts_from and job.starts_from.absolute())
        for job in jobs
    ]
    was_running = ray.is_initialized()
    if not was_running:
        ray.init(address, logging_level=logging.WARNING, log_to_driver=False, include_dashboard=False)
    needs: dict[str, Any] = {"num_gpus": 1} if ray.cluster_resources().get("GPU") else {"num_cpus": 1}
    task = ray.remote(**needs, max_retries=MAX_RETRIES)(_run_and_bring)
    waiting, pending = list(jobs), {}
    try:
        while waiting or pending:
            unfinished = {job.folder for job in (*waiting, *pending.values())}
            for job in [job for job in waiting if job.starts_from not in unfinished]:
                waiting.remove(job)
                pending[task.remote(job)] = job
            (finished,), _ = ray.wait(list(pending), num_returns=1)
            job = pending.pop(finished)
            try:
                _store(ray.get(finished), job.folder)
            except RayTaskError as error:
                raise error.cause from error  # the error of the run, without the worker's traceback
            yield job
    finally:
        for reference in pending:
            ray.cancel(reference, force=True)
        if not was_running:
            ray.shutdown()


def _run_and_bring(job: Job) -> dict[str, bytes]:
    """Run a job on a worker, and return the content of its files by path."""
    messages = io.StringIO()
    try:
        with redirect_stderr(messages):
            _run(job)
    except SystemExit as stop:  # an exit would end the worker as if it had been lost
        raise ValueError(messages.getvalue().strip() or f"{job.recipe} ended with status {stop.code}") from None
    files = [path for path in job.folder.rglob("*") if path.is_file() and path.suffix != ".ckpt"]
    return {str(path.relative_to(job.folder)): path.read_bytes() for path in files if path.stat().st_size <= _MAX_BYTES}


def _store(files: dict[str, bytes], folder: Path) -> None:
    """Write the files of a worker, with ``done.json`` last, unless the worker shares this folder."""
    if (folder / DONE).exists():
        return
    for name in sorted(files, key=lambda name: name == DONE):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, files[name])


@contextmanager
def _silenced() -> Iterator[None]:
    """Suppress the output, all warnings and all log lines below errors of a run, because it is one of many."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
