"""A run of a recipe as a function call."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from recipes._cli.overrides import as_arguments


def run_config(
    recipe: str, overrides: Sequence[str] | Mapping[str, Any], folder: Path | str, command: str = "fit"
) -> dict[str, float]:
    """Run a recipe by a function call, for sweeps, comparisons and remote workers.

    All files of the run are written to ``folder``; ``done.json`` is the last one. For a folder with a finished run, the
    metrics of that run are returned at once. An unfinished ``fit`` resumes from its newest undamaged checkpoint, if
    there is one.

    Args:
        recipe: Name of a recipe, or the dotted name of a module that has a ``main`` as a recipe does.
        overrides: Arguments of the command line, or a mapping such as ``{"trainer.max_epochs": 3}``. Its values may
            also be paths, NumPy scalars and tensors with one element.
        folder: Folder of the run. Each run needs its own.
        command: ``fit``, ``validate``, ``test`` or one of the recipe's own commands.

    Returns:
        The last value of each logged metric, and the result of the command if that is a mapping of numbers.

    Raises:
        ValueError: The folder has a run with other arguments, another process is running in it, or an override has a
            type that the command line cannot represent.
        OSError: The folder is not writable.
    """
    # a heavy import, delayed because ``recipes`` exports this function
    from recipes._cli.run_in_folder import run_in_folder

    return run_in_folder(Path(folder).absolute(), recipe, command, as_arguments(overrides))
