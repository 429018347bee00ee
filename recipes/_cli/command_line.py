"""The one command line of all recipes.

Heavy imports wait until a recipe runs, so that listing recipes takes no time.
"""

import importlib
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recipes._cli.fit_arguments import PARAMETER
from recipes._cli.own_commands import own_commands
from recipes._cli.recipe_files import default_config, recipe_names, recipe_summary
from recipes._cli.usage import SCRIPT, answer_at_once, did_you_mean, is_script, typed_command
from recipes._cli.wandb_environment import prepare_wandb

if TYPE_CHECKING:
    from recipes._cli.parser import RecipeCLI


TRACEBACK = "LIGHTNING_EDGE_TRACEBACK"
"""Environment variable that asks for tracebacks of all errors."""

_NOISE = (
    # Lightning's own use of torch
    r".*isinstance\(treespec, LeafSpec\).*",
    # the configuration is written before the metrics, into a folder of its own
    r"(Experiment logs|Checkpoint) directory .* exists and is not empty.*",
    # of a checkpoint that is used in another run, as predict and test do
    r"The dirpath has changed from .*",
    # of a video, whose frames have no index to sample by
    r"Couldn't infer the batch indices .*",
)
_NOISE_ON_FEW_CORES = (r".*does not have many workers which may be a bottleneck.*",)


def run(
    recipe: str,
    args: Sequence[str] | None = None,
    *,
    commands: Sequence[str | Callable[..., Any]] = (),
    links: Mapping[str, Sequence[str]] | None = None,
    folder: Path | None = None,
) -> "RecipeCLI":
    """Run the command line of a recipe.

    The configuration beside the recipe gives the defaults; ``-c other.yaml`` merges another one over it and is looked
    for beside the recipe when the current folder has none. All output of a run lies in one folder, the one of its
    first ``CSVLogger``; with ``--trainer.default_root_dir`` that folder lies there.

    Args:
        recipe: Name of a recipe of this package, or the path of a recipe's file elsewhere.
        args: What follows the recipe's name; ``None`` reads the command line.
        commands: Typed functions shown beside fit, validate, test and predict, or, of a recipe of this package, names
            of files in its folder that hold a function of this name. One that names ``model``, ``datamodule`` or
            ``trainer`` receives the recipe's objects, and ``fit_arguments`` all options that it does not have itself.
        links: For an attribute of the data module (``data.num_classes``) the arguments that take its value
            (``model.init_args.net.init_args.num_classes``), whatever the configuration says there. A link whose data
            or whose model lacks the name is skipped.
        folder: Where all output goes: the trainer's root folder, and the argument ``folder`` of a command that has it.

    Returns:
        The finished command line, with ``model``, ``datamodule``, ``trainer`` and the ``result`` of the command.

    Raises:
        SystemExit: With ``args=None``, where a person reads, for an error in what was given: its message is written
            without the traceback, unless ``LIGHTNING_EDGE_TRACEBACK`` is set. With ``args`` the error itself is raised.
    """
    defaults = default_config(recipe)
    command_line = typed_command(recipe)
    own = own_commands(commands, recipe, defaults.parent)
    is_read_by_a_person = args is None and TRACEBACK not in os.environ
    args = list(sys.argv[2 if is_script() else 1 :] if args is None else args)
    answer_at_once(args, command_line, own, defaults)
    # YAML takes a moment that the list of recipes does not need
    from recipes._cli.arguments import without_null_parts
    from recipes._cli.config_files import find_configs, undone_options

    # a configuration that a command passes on may be that of another recipe
    passes_on = any(command.name in args and PARAMETER in command.parameters for command in own)
    given, args = args, find_configs(args, defaults, is_of_this_recipe=not passes_on)
    undone = undone_options(args)
    args = list(without_null_parts(args))
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    prepare_wandb()
    with _quiet():
        try:
            from lightning.pytorch.utilities import rank_zero_warn  # which takes seconds, as the next one

            from recipes._cli.parser import RecipeCLI

            for message in undone:
                rank_zero_warn(message)
            return RecipeCLI(
                defaults, args, given, [command.load() for command in own], links or {}, folder, command_line
            )
        except KeyboardInterrupt:
            sys.stderr.write("\nInterrupted before the run began.\n")
            sys.exit(130)
        except Exception as error:
            from recipes._cli.failure import explain_failure

            if not is_read_by_a_person or (message := explain_failure(error)) is None:
                raise
            sys.stderr.write(f"error: {message}\n{TRACEBACK}=1 shows where it was raised.\n")
            sys.exit(1)


def list_recipes() -> str:
    """One line for each recipe: its name and the first line of its docstring."""
    return "".join(f"{name:<20}{recipe_summary(name)}\n" for name in recipe_names())


def console() -> None:
    """The console script: ``lightning-edge accel fit`` is ``python -m recipes.accel fit``."""
    if not sys.flags.safe_path:
        sys.path.insert(0, str(Path.cwd()))  # as `python -m` does: the user's own classes are found there
    names = recipe_names()
    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if name in names:
        importlib.import_module(f"recipes.{name}").main()
        return
    sys.stdout.write(f"usage: {SCRIPT} RECIPE {{fit,validate,test,predict,...}}\n\n{list_recipes()}")
    if name not in ("-h", "--help"):
        sys.stderr.write(
            f"\nerror: expected one of the recipes {sorted(names)}, got {name!r}{did_you_mean(name, names)}\n"
        )
        sys.exit(2)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep back warnings and advertisements that the user of a recipe cannot act on."""
    lightning_log = logging.getLogger("lightning.pytorch.utilities.rank_zero")
    few_cores = (os.cpu_count() or 1) <= 2
    with warnings.catch_warnings():
        for message in _NOISE + (_NOISE_ON_FEW_CORES if few_cores else ()):
            warnings.filterwarnings("ignore", message=message)
        lightning_log.addFilter(_is_no_advertisement)
        try:
            yield
        finally:
            lightning_log.removeFilter(_is_no_advertisement)


def _is_no_advertisement(record: logging.LogRecord) -> bool:
    return "Tip: For seamless cloud" not in record.getMessage()
