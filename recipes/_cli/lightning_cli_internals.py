"""LightningCLI with commands other than those of the trainer.

It creates the parsers of its commands, sets the seed, reads the checkpoint and runs the command in private methods
only. So they are overridden here, and call public ones. ``tests/upgrade/test_lightning_cli.py`` checks that Lightning
still calls them.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from lightning.pytorch.cli import LightningArgumentParser, LightningCLI


class OpenLightningCLI(LightningCLI, ABC):
    """LightningCLI whose subclasses add commands and run them."""

    @abstractmethod
    def add_commands(self, parser: Any, options: Mapping[str, Any]) -> None:
        """Add all commands to the parser: call :meth:`add_trainer_commands` and :meth:`register_command`.

        Args:
            parser: Parser without commands.
            options: Arguments for the parsers of the trainer's commands.
        """

    @abstractmethod
    def run_command(self, command: str) -> None:
        """Run the command in the arguments, after ``instantiate_classes``."""

    def add_trainer_commands(self, parser: LightningArgumentParser, options: Mapping[str, Any]) -> None:
        """Add the commands that :meth:`subcommands` lists."""
        super()._add_subcommands(parser, **options)

    def register_command(self, name: str, parser: LightningArgumentParser, arguments: Sequence[str]) -> None:
        """Tell Lightning the parser of another command, and the names of the command's own arguments."""
        self._subcommand_parsers[name] = parser
        self._subcommand_method_arguments[name] = list(arguments)

    def command_parser(self, command: str) -> LightningArgumentParser:
        """The parser of a command."""
        return self._subcommand_parsers[command]

    def command_arguments(self, command: str) -> list[str]:
        """Names of a command's own arguments, such as ``ckpt_path``, without the trainer, the model and the data."""
        return self._subcommand_method_arguments[command]

    def forget_recorded_config(self) -> None:
        """Make Lightning record the configuration of the model for its checkpoints again, after a change."""
        vars(self).pop("config_dump", None)

    def _add_subcommands(self, parser: LightningArgumentParser, **kwargs: Any) -> None:
        self._subcommand_parsers = {}
        self.add_commands(parser, kwargs)

    def _parse_ckpt_path(self) -> None:
        """Do nothing: Lightning would let the arguments in the checkpoint override YAML and command line."""

    def _set_seed(self) -> None:
        if "seed_everything" in self.config[self.config.subcommand]:  # not every command has this option
            super()._set_seed()

    def _run_subcommand(self, subcommand: str) -> None:
        self.run_command(subcommand)
