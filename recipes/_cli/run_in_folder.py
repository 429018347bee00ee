"""One run in a folder of its own, which is locked for other processes and which a later call can resume."""

import importlib
from contextlib import suppress
from pathlib import Path

from lightning_edge.checkpoints import last_checkpoint
from recipes._cli.run_lock import LOCK, RunLock
from recipes._cli.run_record import DONE, RUN, claim, metrics_of_finished, write_json


def run_in_folder(folder: Path, recipe: str, command: str, arguments: list[str]) -> dict[str, float]:
    """Run a command of a recipe; arguments, result and errors as in :func:`~recipes.run_config`."""
    lock = RunLock(folder)
    try:
        return _run(folder, recipe, command, arguments)
    finally:
        lock.release()


def _run(folder: Path, recipe: str, command: str, arguments: list[str]) -> dict[str, float]:
    main = importlib.import_module(recipe if "." in recipe else f"recipes.{recipe}").main
    plan = {"recipe": recipe, "command": command, "arguments": arguments}
    was_claimed = claim(folder, plan)
    if (finished := metrics_of_finished(folder)) is not None:
        return finished
    checkpoint = last_checkpoint(folder) if command == "fit" else None
    resume = [f"--ckpt_path={checkpoint}"] if checkpoint else []
    try:
        metrics = main([command, *arguments, *resume], folder=folder).metrics
    except BaseException:
        with suppress(OSError):
            if not was_claimed and {path.name for path in folder.iterdir()} <= {RUN, LOCK}:
                (folder / RUN).unlink()  # the run wrote nothing, so a later call may use other arguments
        raise
    write_json(folder / DONE, metrics)
    return metrics
