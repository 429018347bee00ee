"""The one command line of all recipes.

Heavy imports are delayed until a recipe runs, so that listing the recipes is fast.
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
"""Environment variable that makes the command line show the traceback of every error."""

_NOISE = (
    # caused by Lightning's own use of torch
    r".*isinstance\(treespec, LeafSpec\).*",
    # each run has its own folder, and the configuration is written into it before the metrics
    r"(Experiment logs|Checkpoint) directory .* exists and is not empty.*",
    # predict and test use a checkpoint of another run
    r"The dirpath has changed from .*",
    # the frames of a video have no sampler indices
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

    The configuration in the recipe's folder gives the defaults. ``-c other.yaml`` merges another configuration over it;
    that file is searched in the current folder and then in the recipe's folder. All output of a run goes to one folder,
    that of its first ``CSVLogger``. ``--trainer.default_root_dir`` sets the parent of that folder.

    Args:
        recipe: Name of a recipe of this package, or the path of a recipe's file elsewhere.
        args: The arguments after the recipe's name; ``None`` reads the command line of the process.
        commands: Functions with type annotations that become commands next to fit, validate, test and predict. A recipe
            of this package may instead give the names of files in its folder, each with a function of the same name. A
            function with a parameter ``model``, ``datamodule`` or ``trainer`` receives the recipe's object; a parameter
            ``fit_arguments`` receives all options that the function does not have itself.
        links: Maps an attribute of the data module (``data.num_classes``) to the arguments that take its value
            (``model.init_args.net.init_args.num_classes``). The value replaces the one in the configuration. A link is
            skipped where the data module lacks the attribute or the model lacks the argument.
        folder: Folder for all output: the trainer's root folder, and the argument ``folder`` of a command that has one.

    Returns:
        The finished command line, with ``model``, ``datamodule``, ``trainer`` and the ``result`` of the command.

    Raises:
        SystemExit: With ``args=None``, for an error in the user's input. The message is printed without a traceback,
            unless ``LIGHTNING_EDGE_TRACEBACK`` is set. With ``args`` the error itself is raised.
    """
    defaults = default_config(recipe)
    command_line = typed_command(recipe)
    own = own_commands(commands, recipe, defaults.parent)
    is_read_by_a_person = args is None and TRACEBACK not in os.environ
    args = list(sys.argv[2 if is_script() else 1 :] if args is None else args)
    answer_at_once(args, command_line, own, defaults)
    # importing YAML takes time, and the list of recipes does not need it
    from recipes._cli.arguments import without_null_parts
    from recipes._cli.config_files import find_configs
    from recipes._cli.overridden_options import undone_options

    # a command may pass a configuration on to another recipe
    passes_on = any(command.name in args and PARAMETER in command.parameters for command in own)
    typed_args, args = args, find_configs(args, defaults, is_of_this_recipe=not passes_on)
    undone = undone_options(args)
    args = list(without_null_parts(args))
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    prepare_wandb()
    with _without_noise():
        try:
            from lightning.pytorch.utilities import rank_zero_warn  # this import and the next one take seconds

            from recipes._cli.parser import RecipeCLI

            if is_read_by_a_person:  # after the imports, because Lightning sets a format of its own
                warnings.formatwarning = _without_source
            for message in undone:
                rank_zero_warn(message)
            return RecipeCLI(defaults, args, typed_args, own, links or {}, folder, command_line)
        except KeyboardInterrupt:
            sys.stderr.write("\nInterrupted before the run started.\n")
            sys.exit(130)
        except Exception as error:
            from recipes._cli.failure import explain_failure

            if not is_read_by_a_person or (message := explain_failure(error)) is None:
                raise
            sys.stderr.write(f"error: {message}\nSet {TRACEBACK}=1 to see the traceback.\n")
            sys.exit(1)


def list_recipes() -> str:
    """One line for each recipe: its name and the first line of its docstring."""
    return "".join(f"{name:<20}{recipe_summary(name)}\n" for name in recipe_names())


def console() -> None:
    """The console script: ``lightning-edge accel fit`` is ``python -m recipes.accel fit``."""
    if not sys.flags.safe_path:
        sys.path.insert(0, str(Path.cwd()))  # as `python -m` does, so that the user's own classes can be imported
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
def _without_noise() -> Iterator[None]:
    """Suppress the few warnings and advertisements that the user of a recipe cannot act on; all others are shown."""
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


def _without_source(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> str:
    """A warning for the user of a recipe, to whom the place in the library's code says nothing."""
    return f"{category.__name__}: {message}\n"


def _is_no_advertisement(record: logging.LogRecord) -> bool:
    return "Tip: For seamless cloud" not in record.getMessage()
