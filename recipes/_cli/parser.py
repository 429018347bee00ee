"""LightningCLI for recipes: own commands, one folder per run, and checkpoints that provide only the weights."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import Namespace
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.utilities import rank_zero_warn
from typing_extensions import override

from recipes._cli.checkpoint_model import with_model_of_checkpoint
from recipes._cli.closing_block import print_closing_block
from recipes._cli.config_check import check_config
from recipes._cli.data_summary import DataSummary
from recipes._cli.fit_arguments import PARAMETER, split_arguments
from recipes._cli.lightning_cli_internals import OpenLightningCLI
from recipes._cli.logged_metrics import LoggedMetrics, last_values
from recipes._cli.overridden_options import dropped_options, is_typed
from recipes._cli.own_commands import OwnCommand
from recipes._cli.plugins import with_atomic_checkpoints
from recipes._cli.recipe_files import HOME, recipe_of
from recipes._cli.recipe_parser import RecipeParser
from recipes._cli.run_advice import say_how_to_resume, warn_of_untrained_weights, warn_without_validation
from recipes._cli.run_checkpoints import check_checkpoint
from recipes._cli.run_errors import constructor_error, interrupted_status, refuse_other_weights
from recipes._cli.run_folder import RunFolder
from recipes._cli.save_config import SaveConfig
from recipes._cli.summary import use_honest_summary
from recipes._cli.usage import TRAINER_COMMANDS
from recipes._cli.wandb import RunLabels, finish_wandb, leave_anonymous_unset, start_wandb

OBJECTS = ("model", "datamodule", "trainer")
"""Objects of the recipe that a command receives if it has a parameter of this name."""

_TRAINER = Path(__file__).with_name("trainer.yaml")


class RecipeCLI(OpenLightningCLI):
    """Parse the arguments of a recipe and run the command in them.

    Attributes:
        model: The recipe's module; ``None`` for a command that uses neither the model nor the data nor the trainer.
        datamodule: The recipe's data module; ``None`` in the same cases.
        trainer: The recipe's trainer; ``None`` in the same cases.
        result: The return value of the command.
    """

    def __init__(
        self,
        defaults: Path,
        args: Sequence[str],
        typed_args: Sequence[str],
        commands: Sequence[OwnCommand],
        links: Mapping[str, Sequence[str]],
        folder: Path | None,
        command_line: str,
    ) -> None:
        self._has_model = "model" in (yaml.safe_load(defaults.read_text(encoding="utf-8")) or {})
        shared = [str(_TRAINER)] if self._has_model and defaults.is_relative_to(HOME) else []
        self._defaults = {"default_config_files": [*shared, str(defaults)]}
        self._recipe = recipe_of(defaults)
        self._commands = {command.name: command for command in commands}
        self._links = links
        self._folder = folder
        self._command_line = command_line
        # each command has its own parser, which takes time to build: if the first word is a command, only its parser is
        # built; without a model the recipe's configuration has sections for all commands
        names = {*TRAINER_COMMANDS, *self._commands} if self._has_model else set()
        self._named_command = args[0] if args and args[0] in names else None
        args, self._fit_arguments = self._split(args, typed_args)
        self._own_args = args
        self._run_folder: RunFolder | None = None
        self._earlier_metrics: dict[str, float] = {}  # of the training that this one resumes
        self.model = self.datamodule = self.trainer = self.result = None
        parser_kwargs: dict[str, Any] = {"prog": command_line, "description": None, "allow_abbrev": False}
        if self._has_model:
            parser_kwargs |= {name: dict(self._defaults) for name in self.subcommands()}
        else:
            parser_kwargs |= self._defaults
        try:
            super().__init__(
                args=self._with_model_of_checkpoint(args, defaults),
                parser_class=RecipeParser,
                parser_kwargs=parser_kwargs,
                save_config_callback=SaveConfig,
                save_config_kwargs={"overwrite": True},
                seed_everything_default=0,
                subclass_mode_model=True,
                subclass_mode_data=True,
                auto_configure_optimizers=False,
            )
        except BaseException:
            if self._run_folder is not None:
                self._run_folder.discard_if_unused()
            raise
        finally:
            if self._run_folder is not None:
                self._run_folder.release()

    def _split(self, args: Sequence[str], typed_args: Sequence[str]) -> tuple[list[str], tuple[str, ...]]:
        """The arguments to parse here, and those that the command passes on to the trainings that it starts.

        Args:
            args: The command line with the resolved paths of configurations.
            typed_args: The command line as the user typed it, which is also valid on other machines.
        """
        name = next((word for word in args if word in self._commands or word in TRAINER_COMMANDS), None)
        command = self._commands.get(name or "")
        if name is None or command is None or PARAMETER not in command.parameters:
            return list(args), ()
        own_options = RecipeParser().add_function_arguments(command.load(), skip={PARAMETER, *_wanted_objects(command)})
        at = list(typed_args).index(name) + 1
        own, passed_on = split_arguments(typed_args[at:], own_options)
        # for a command that takes the recipe's objects, the parser knows all options
        return list(args) if _wanted_objects(command) else [*args[: list(args).index(name) + 1], *own], tuple(passed_on)

    def _with_model_of_checkpoint(self, args: Sequence[str], defaults: Path) -> list[str]:
        """Add the model of the checkpoint for all commands except ``fit``, which resumes with the configured model."""
        with_model = {"validate", "test", "predict"} if self._has_model else set()
        with_model |= {name for name, command in self._commands.items() if "model" in _wanted_objects(command)}
        command = next((word for word in args if word in self._commands or word in TRAINER_COMMANDS), "fit")
        return with_model_of_checkpoint(args, command, defaults) if command in with_model else list(args)

    @property
    def metrics(self) -> dict[str, float]:
        """The last value of each logged metric, and the numbers in the result of a command that returned a mapping."""
        logged = self.trainer.callback_metrics if self.trainer else {}
        returned = self.result if isinstance(self.result, Mapping) else {}
        numbers = {name: value for name, value in returned.items() if isinstance(value, int | float)}
        return {name: float(value) for name, value in {**self._earlier_metrics, **logged, **numbers}.items()}

    def subcommands(self) -> dict[str, set[str]]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Lightning's commands that are parsed, and the arguments to leave out."""
        return {name: skip for name, skip in LightningCLI.subcommands().items() if self._is_parsed(name)}

    def _is_parsed(self, command: str) -> bool:
        return self._named_command in (None, command)

    @override
    def add_commands(self, parser: RecipeParser, options: Mapping[str, Any]) -> None:
        if self._has_model:
            self.add_trainer_commands(parser, options)
            if self._is_parsed("predict"):
                # the masks of a whole video would fill the memory; callbacks write them one by one
                self.command_parser("predict").set_defaults(return_predictions=False)
            for command in filter(self._is_parsed, ("validate", "test")):
                # the closing block has the same scores, with one line for the classes of each data loader
                self.command_parser(command).set_defaults(verbose=False)
        else:
            parser.add_subcommands()
        for name, command in self._commands.items():
            if self._is_parsed(name):
                self._add_command(parser, name, command)

    def _add_command(self, parser: RecipeParser, name: str, command: OwnCommand) -> None:
        wants = _wanted_objects(command)
        about = command.summary
        if PARAMETER in command.parameters:
            about += " All other options are those of every fit."
        # without the recipe's objects there is nothing to configure; -c is passed on to the trainings
        subparser = self.init_parser(description=about, **self._defaults) if wants else RecipeParser(description=about)
        if wants:
            self.add_default_arguments_to_parser(subparser)
            self.add_core_arguments_to_parser(subparser)
        arguments = subparser.add_function_arguments(command.load(), skip={PARAMETER, *wants})
        self.register_command(name, subparser, arguments)
        parser.commands.add_subcommand(name, subparser, help=about)

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse ``args`` only, never the command line of this process."""
        self.config = parser.parse_args(args)
        # the options that the user typed, without the model that a checkpoint describes
        for message in dropped_options(self._own_args, self.config[self.config.subcommand].as_dict()):
            rank_zero_warn(message)

    def instantiate_classes(self) -> None:
        """Build the objects that the command needs, with all output of the run in one folder."""
        command = str(self.subcommand)
        parser, config = self.command_parser(command), self.config[command].clone()
        if self._folder is not None and "folder" in self.command_arguments(command):
            config.folder = str(self._folder)
        checkpoint, content = _checkpoint(config), {}
        check_config(config)
        try:
            if "trainer" in config:
                resumed = checkpoint if command == "fit" else None
                self._run_folder = RunFolder(
                    config.trainer, self._recipe, self._folder, resumed, trains=command == "fit"
                )
                if checkpoint is not None:
                    runs = Path(config.trainer.default_root_dir or ".").parent
                    content = check_checkpoint(checkpoint, runs, command == "fit", config.get("weights_only"))
                config.data = parser.instantiate(Namespace(data=config.data)).data
                if command not in self._commands or "model" in _wanted_objects(self._commands[command]):
                    self._link(config)
            self.config_init = Namespace({command: parser.instantiate(config)})
        except ValueError as error:
            raise constructor_error(error) from None
        if self._run_folder is not None:
            objects = self.config_init[command]
            self.datamodule, self.model = objects.get("data"), objects.get("model")
            self.trainer = self.instantiate_trainer()
            use_honest_summary(self.trainer)
            self.trainer.callbacks.append(DataSummary())  # pyright: ignore[reportAttributeAccessIssue]
            leave_anonymous_unset(self.trainer)
            self._run_folder.restore_metrics(self.trainer, content)
            self._earlier_metrics = last_values(content) if command == "fit" else {}

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Build the trainer, whose checkpoints survive a kill and a full disk."""
        config = self.config_init[str(self.subcommand)].get("trainer", {})
        trainer: Any = super().instantiate_trainer(**kwargs, plugins=with_atomic_checkpoints(config))
        # --ckpt_path=best means the first checkpoint callback
        trainer.callbacks.sort(key=lambda callback: isinstance(callback, ModelCheckpoint) and not callback.monitor)
        trainer.callbacks.insert(0, LoggedMetrics())
        return trainer

    def _link(self, config: Namespace) -> None:
        """Copy values of the data module, such as ``num_classes``, to arguments of the model.

        The parser's own links would omit the value where ``save_hyperparameters`` reads it.
        """
        for source, targets in self._links.items():
            name = source.removeprefix("data.")
            for target in targets:
                if hasattr(config.data, name) and target in config:
                    value = getattr(config.data, name)
                    if config[target] != value and is_typed(target, self._own_args):
                        rank_zero_warn(f"{target} is {value}, as in the data ({source}), in place of {config[target]}.")
                    config[target] = self.config[str(self.subcommand)][target] = value
        self.forget_recorded_config()

    @override
    def run_command(self, command: str) -> None:
        try:
            self._run(command)
        except BaseException as error:
            status = interrupted_status(error, self.trainer)
            if status is None:
                raise
            say_how_to_resume(self.trainer, self._run_folder, has_own_folder=self._folder is not None)
            sys.exit(status)
        finally:
            finish_wandb(self.trainer, is_kept=self._run_folder is None or not self._run_folder.is_unused)

    def _run(self, name: str) -> None:
        if name != "fit" and self.config[name].get("ckpt_path", "no such option") is None:
            warn_of_untrained_weights(name)
        if name == "fit":
            warn_without_validation(self.trainer)
        with refuse_other_weights(_checkpoint(self.config[name])):
            arguments = {key: self.config_init[name][key] for key in self.command_arguments(name)}
            if name not in self._commands:
                if self.trainer is not None:
                    start_wandb(self.trainer, self._labels(name))
                if self._folder is not None and "verbose" in arguments:
                    arguments["verbose"] = False  # the caller takes the scores
                method = getattr(self.trainer, name)
                self.result = method(model=self.model, datamodule=self.datamodule, **arguments)
                self._close(name)
                return
            command = self._commands[name]
            objects: dict[str, Any] = {str(key): getattr(self, str(key)) for key in _wanted_objects(command)}
            if PARAMETER in command.parameters:
                objects[PARAMETER] = self._fit_arguments
            self.result = command.load()(**arguments, **objects)
        if self._run_folder is not None:  # the command may write to another folder
            self._run_folder.discard_if_unused()

    def _labels(self, command: str) -> RunLabels:
        seed = self.config[command].get("seed_everything")
        return RunLabels(
            self._recipe,
            command,
            type(self.model).__name__,
            type(self.datamodule).__name__,
            None if isinstance(seed, bool) else seed,
        )

    def _close(self, name: str) -> None:
        """Print the closing lines, unless the run was started by a function call."""
        if name == "predict" or self._folder is not None or self.trainer is None:
            return
        takes_run = {"ckpt_path", "run"}
        own = [other for other, command in self._commands.items() if takes_run.intersection(command.parameters)]
        print_closing_block(self.trainer, name, self._command_line, own, _checkpoint(self.config[name]))


def _wanted_objects(command: OwnCommand) -> set[str | int]:
    return {name for name in command.parameters if name in OBJECTS}


def _checkpoint(config: Namespace) -> Path | None:
    """The file of ``--ckpt_path``; ``None`` for Lightning's keywords, such as ``best``."""
    path = config.get("ckpt_path")
    return None if path in (None, "best", "last", "hpc") or str(path).startswith("registry") else Path(path)
