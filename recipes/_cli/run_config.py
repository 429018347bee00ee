"""A run of a recipe as a function."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from recipes._cli.overrides import as_arguments


def run_config(
    recipe: str, overrides: Sequence[str] | Mapping[str, Any], folder: Path | str, command: str = "fit"
) -> dict[str, float]:
    """One run of a recipe as a function, for sweeps, tables and remote workers.

    Everything the run writes lies under ``folder``, ``done.json`` last. A finished folder returns its metrics at once;
    an unfinished ``fit`` goes on from its newest whole checkpoint, if it left one.

    Args:
        recipe: Name of a recipe, or the dotted name of a module with a ``main`` like a recipe's.
        overrides: Arguments of the command line, or a mapping such as ``{"trainer.max_epochs": 3}``, whose values may
            be paths, numbers of NumPy and tensors with one element too.
        folder: Where the run lives. One folder belongs to one run.
        command: ``fit``, ``validate``, ``test`` or one of the recipe's own commands.

    Returns:
        The last value of each logged metric, and the result of the command where that is a mapping of numbers.

    Raises:
        ValueError: The folder holds a run with other arguments, another process runs it, or an override is nothing
            that the command line could take.
        OSError: The folder cannot be written to.
    """
    from recipes._cli.run_in_folder import run_in_folder  # heavy, and ``recipes`` itself exports this function

    return run_in_folder(Path(folder).absolute(), recipe, command, as_arguments(overrides))
