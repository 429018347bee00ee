"""What `recipes/_cli/lightning_cli_internals.py` expects of LightningCLI, on a command line with one more command."""

import torch
from lightning.pytorch import LightningDataModule, LightningModule
from torch import nn
from torch.utils.data import DataLoader

from lightning_edge.model_description import CLASS_KEY, INSTANTIATOR_KEY
from recipes._cli.lightning_cli_internals import OpenLightningCLI
from recipes._cli.recipe_parser import RecipeParser

ADAPT = "adapt recipes/_cli/lightning_cli_internals.py"


class Model(LightningModule):
    def __init__(self, width: int = 1) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Linear(1, 1)

    def validation_step(self, batch, batch_idx):
        self.log("width", float(self.hparams["width"]))


class Data(LightningDataModule):
    def val_dataloader(self):
        return DataLoader(torch.ones(2, 1))


def count(times: int = 1) -> None:
    """Count."""


class CountingCLI(OpenLightningCLI):
    def __init__(self, *args):
        self.ran = None
        super().__init__(
            Model,
            Data,
            subclass_mode_model=True,
            args=list(args),
            parser_class=RecipeParser,
            parser_kwargs={"exit_on_error": False},
            save_config_callback=None,
            auto_configure_optimizers=False,
        )

    def parse_arguments(self, parser, args):
        self.config = parser.parse_args(args)

    def add_commands(self, parser, options):
        self.add_trainer_commands(parser, options)
        counting = RecipeParser()
        self.register_command("count", counting, counting.add_function_arguments(count))
        parser.commands.add_subcommand("count", counting)

    def run_command(self, command):
        self.ran = command


MODEL = [f"--model={__name__}.Model"]
QUIET = [f"--trainer.{option}=false" for option in ("logger", "enable_progress_bar", "enable_model_summary")]


def test_lightning_asks_for_the_commands_and_lets_the_subclass_run_them():
    cli = CountingCLI("count", "--times=3")
    assert cli.ran == "count", f"LightningCLI no longer calls _run_subcommand: {ADAPT}"
    assert cli.config_init["count"]["times"] == 3, f"LightningCLI no longer parses an added command: {ADAPT}"
    assert cli.command_arguments("count") == ["times"], f"_subcommand_method_arguments has changed: {ADAPT}"


def test_the_arguments_of_the_trainers_commands_are_known():
    cli = CountingCLI("validate", *MODEL, *QUIET)
    known = cli.command_arguments("validate")
    assert {"ckpt_path", "verbose"} <= set(known), f"_subcommand_method_arguments has changed: {ADAPT}"
    assert not {"model", "datamodule"} & set(known), f"_subcommand_method_arguments has changed: {ADAPT}"
    options = cli.command_parser("validate").get_defaults()
    assert "trainer.max_epochs" in options, f"_subcommand_parsers no longer has the parser of a command: {ADAPT}"


def test_a_command_without_a_seed_leaves_the_random_state_alone():
    torch.manual_seed(123)
    CountingCLI("count")
    assert torch.initial_seed() == 123, f"LightningCLI no longer sets the seed in _set_seed: {ADAPT}"
    CountingCLI("validate", "--seed_everything=7", *MODEL, *QUIET)
    assert torch.initial_seed() == 7, f"LightningCLI no longer sets the seed in _set_seed: {ADAPT}"


def test_the_arguments_in_a_checkpoint_do_not_override_the_command_line(tmp_path):
    torch.save({"hyper_parameters": {"width": 5}}, tmp_path / "other.ckpt")
    cli = CountingCLI("validate", *MODEL, "--model.width=2", f"--ckpt_path={tmp_path / 'other.ckpt'}", *QUIET)
    changed = f"LightningCLI no longer reads the checkpoint in _parse_ckpt_path: {ADAPT}"
    assert cli.model.hparams["width"] == 2, changed


def test_the_record_of_the_model_follows_a_change_of_the_configuration():
    class Linking(CountingCLI):
        def instantiate_classes(self):
            super().instantiate_classes()  # Lightning has recorded the configuration now
            self.config["validate"]["model"]["init_args"]["width"] = 9
            self.forget_recorded_config()
            super().instantiate_classes()

    cli = Linking("validate", *MODEL, "--model.width=2", *QUIET)
    assert cli.model.hparams["width"] == 9, f"LightningCLI no longer keeps its record in config_dump: {ADAPT}"


def test_the_record_of_a_model_names_its_class_and_its_instantiator():
    cli = CountingCLI("validate", *MODEL, *QUIET)
    record, adapt = cli.model.hparams, "adapt lightning_edge/model_description.py"
    assert record[CLASS_KEY] == f"{__name__}.Model", f"the class of a model has another key: {adapt}, {record}"
    assert INSTANTIATOR_KEY in record, f"the instantiator of a model has another key: {adapt}, {record}"
