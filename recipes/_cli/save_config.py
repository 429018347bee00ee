"""The configuration that a run leaves in its folder."""

from typing import Any

import yaml
from jsonargparse import Namespace
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.cli import LightningArgumentParser, SaveConfigCallback
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_info

_SHARED = ("seed_everything", "trainer", "model", "data")
"""Sections of a configuration that every command accepts."""


class SaveConfig(SaveConfigCallback):
    """Write ``config.yaml`` into the run's folder, and log the same configuration to W&B.

    The file has only the sections that all commands share, so that each command accepts it as ``-c config.yaml``. It
    leaves out the checkpoint that the run started from, because that would override the one on the command line.
    """

    def __init__(self, parser: LightningArgumentParser, config: Namespace, **kwargs: Any) -> None:
        shared = Namespace({name: config[name] for name in _SHARED if name in config})
        super().__init__(parser, shared, **kwargs)

    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Lightning calls this once, on rank zero."""
        config = yaml.safe_load(self.parser.dump(self.config, skip_unset=False))
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                logger.log_hyperparams(config)
        # not log_dir, whose getter communicates with all ranks
        rank_zero_info(f"The run is in {trainer.default_root_dir}")
