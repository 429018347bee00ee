"""Answers that need no heavy imports: the usage of a recipe, its main options, and the error for a wrong command.

Importing torch and Lightning takes seconds, and none of these answers needs them.
"""

import difflib
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from recipes._cli.own_commands import OwnCommand
from recipes._cli.recipe_files import shipped_configs

SCRIPT = "lightning-edge"
"""The console script, whose first argument is the recipe."""

TRAINER_COMMANDS = {
    "fit": "Train, with evaluations on the way.",
    "validate": "Evaluate a checkpoint on the validation data.",
    "test": "Evaluate a checkpoint on the test data.",
    "predict": "Predict on images or a video, and write the results.",
}
"""Lightning's own commands, which every recipe with a model has."""

_MAIN_OPTIONS = {
    "-c FILE": "options from a YAML file; if an option is given several times, the last one counts",
    "--ckpt_path=FILE": "checkpoint: fit resumes from it, the other commands use its model",
    "--data=CLASS": "data module, such as --data=my_module.MyData; its arguments are --data.NAME=VALUE",
    "--data.root=FOLDER": "folder of the data set; without it, sample data are generated",
    "--data.batch_size=N": "samples in a batch",
    "--model.optimizer.lr=RATE": "learning rate",
    "--trainer.max_epochs=N": "length of the training",
    "--trainer.accelerator=NAME": "cpu, gpu or auto; --trainer.devices=N for several",
    "--trainer.logger=false": "disable logging; by default metrics.csv and W&B are written",
    "--seed_everything=N": "seed of the run",
}

_BEFORE_THE_COMMAND = ("-c", "--config")
"""Options with a value that may come before the command."""


def typed_command(recipe: str) -> str:
    """How the user called a recipe: ``lightning-edge accel`` or ``python -m recipes.accel``."""
    if Path(recipe).suffix == ".py":
        return f"python {Path(recipe).name}"
    return f"{SCRIPT} {recipe}" if is_script() else f"python -m recipes.{recipe}"


def is_script() -> bool:
    """Whether this process is the console script."""
    return Path(sys.argv[0]).stem == SCRIPT


def answer_at_once(args: Sequence[str], command_line: str, commands: Sequence[OwnCommand], defaults: Path) -> None:
    """Answer calls that need no model or data, and exit; return if a known command is to run.

    Args:
        args: The arguments after the recipe's name.
        command_line: How the user called the recipe.
        commands: The recipe's own commands.
        defaults: The recipe's configuration file.

    Raises:
        SystemExit: With status 0 after the usage, with status 2 after an error.
    """
    known = _known_commands(commands, defaults)
    rest = _after_general_options(args)
    if not args or rest[:1] in (["-h"], ["--help"]):
        sys.stdout.write(_usage(command_line, known, defaults))
        sys.exit(0)
    command = rest[0] if rest else ""
    if command in known:
        if command in TRAINER_COMMANDS and {"-h", "--help"} & set(rest):
            sys.stdout.write(_main_options(command_line, command))
            sys.stdout.flush()  # the list of all options takes seconds to build
        return
    hint = f"`{command_line} --help` lists the commands."
    if command.startswith("-") or not command:
        named = next((word for word in rest if word in known), next(iter(known)))
        words = command or " ".join(args)
        refuse(f"expected a command before the options, such as `{command_line} {named} {words}`, got {words}", hint)
    refuse(f"expected a command among {', '.join(known)}, got {command!r}{did_you_mean(command, known)}", hint)


def refuse(message: str, hint: str = "") -> NoReturn:
    """Exit with one line about the wrong argument, and perhaps a second line with a hint."""
    sys.stderr.write(f"error: {message}\n{hint}{hint and chr(10)}")
    sys.exit(2)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The closest known name, as the end of a sentence; empty if no name is close."""
    close = difflib.get_close_matches(name, sorted(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def _known_commands(commands: Sequence[OwnCommand], defaults: Path) -> Mapping[str, str]:
    import yaml

    has_model = "model" in (yaml.safe_load(defaults.read_text(encoding="utf-8")) or {})
    own = {command.name: command.summary for command in commands}
    return (TRAINER_COMMANDS if has_model else {}) | own


def _after_general_options(args: Sequence[str]) -> list[str]:
    """The arguments from the command on. Configurations may come before it."""
    rest = list(args)
    while rest and (rest[0] in _BEFORE_THE_COMMAND or rest[0].startswith("--config=")):
        rest = rest[2 if rest[0] in _BEFORE_THE_COMMAND else 1 :]
    return rest


def _usage(command_line: str, known: Mapping[str, str], defaults: Path) -> str:
    width = max(map(len, known)) + 2
    lines = [
        f"usage: {command_line} COMMAND [options]",
        "",
        *(f"  {name:<{width}}{about}" for name, about in known.items()),
        "",
        f"`{command_line} {next(iter(known))} --help` lists the options of a command.",
    ]
    if configs := shipped_configs(defaults):
        lines.append(f"Configurations for -c: {', '.join(configs)}")
    return "\n".join(lines) + "\n"


def _main_options(command_line: str, command: str) -> str:
    width = max(map(len, _MAIN_OPTIONS)) + 2
    options = "".join(f"  {option:<{width}}{about}\n" for option, about in _MAIN_OPTIONS.items())
    return (
        f"{command_line} {command} [options]\n{TRAINER_COMMANDS[command]}\n\nThe main options:\n{options}\n"
        "--model.help CLASS, --data.help CLASS and --trainer.callbacks.help CLASS list the arguments of a class.\n"
        "All options:\n\n"
    )
