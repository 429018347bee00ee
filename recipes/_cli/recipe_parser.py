"""The parser of a recipe's arguments, which explains an error in one line."""

import sys
from typing import Any, NoReturn

import lightning.pytorch.callbacks
from jsonargparse import ActionSubCommands
from lightning.pytorch.cli import LightningArgumentParser

# imported so that their classes have short names on the command line
import callbacks
import lightning_edge.data
import lightning_edge.methods
import lightning_edge.nn
import lightning_edge.systems
from recipes._cli.jsonargparse_internals import parser_of_error, types_of_arguments
from recipes._cli.messages import explain


class RecipeParser(LightningArgumentParser):
    """Parser that reports a wrong argument in one line.

    Attributes:
        commands: The commands of this parser, to which others can be added.
    """

    commands: ActionSubCommands

    def add_subcommands(self, *args: Any, **kwargs: Any) -> ActionSubCommands:
        """Create the commands like jsonargparse, and keep them, because Lightning drops the return value."""
        self.commands = super().add_subcommands(*args, **kwargs)
        return self.commands

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Print the error and exit with status 2."""
        if not self.exit_on_error:
            super().error(message, ex)
        parser = parser_of_error(ex, self)
        modules = (
            lightning.pytorch.callbacks,
            callbacks,
            callbacks.adaptation,
            lightning_edge.data,
            lightning_edge.methods,
            lightning_edge.nn,
            lightning_edge.systems,
        )
        classes = [kind for module in modules for kind in vars(module).values() if isinstance(kind, type)]
        command = parser.prog.replace(" [options]", "")
        sys.stderr.write(
            f"error: {explain(message, types_of_arguments(parser), classes)}\n"
            f"`{command} --help` lists all arguments; --model.help NAME or --data.help NAME lists those of a class.\n"
        )
        sys.exit(2)
