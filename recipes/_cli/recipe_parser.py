"""The parser of a recipe's arguments, which explains an error in one line."""

import sys
from typing import NoReturn

import lightning.pytorch.callbacks
from lightning.pytorch.cli import LightningArgumentParser

# imported so that their classes have short names on the command line
import callbacks
import lightning_edge.data
import lightning_edge.methods
import lightning_edge.nn
import lightning_edge.systems
from recipes._cli.messages import explain


class RecipeParser(LightningArgumentParser):
    """Parser that reports a wrong argument in one line."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Print the error and exit with status 2."""
        if not self.exit_on_error:
            super().error(message, ex)
        parser = getattr(ex, "subcommand_parser", None) or self
        types = {
            option.lstrip("-"): getattr(action, "_typehint", None)
            for action in parser._actions
            for option in action.option_strings
        }
        modules = (
            lightning.pytorch.callbacks,
            callbacks,
            lightning_edge.data,
            lightning_edge.methods,
            lightning_edge.nn,
            lightning_edge.systems,
        )
        classes = [kind for module in modules for kind in vars(module).values() if isinstance(kind, type)]
        command = parser.prog.replace(" [options]", "")
        sys.stderr.write(
            f"error: {explain(message, types, classes)}\n"
            f"`{command} --help` lists all arguments; --model.help NAME or --data.help NAME lists those of a class.\n"
        )
        sys.exit(2)
