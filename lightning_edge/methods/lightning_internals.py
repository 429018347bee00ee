"""The private interfaces of Lightning that methods use. An upgrade of Lightning may change them.

``tests/upgrade/test_lightning_resume.py`` checks each of them. Lightning counts epochs and batches in four steps
(ready, started, processed, completed), and a resumed run infers from the counts where to continue. A checkpoint has the
counts in its entry ``loops``.
"""

from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.core.mixins.hparams_mixin import _given_hyperparameters
from lightning.pytorch.utilities.parsing import save_hyperparameters

RECORD_KEY = "_instantiator"
"""Hyper-parameter that only the record of the command line has."""


def command_line_record() -> dict[str, Any] | None:
    """How the command line creates the present module, with its nets and callables; ``None`` in Python."""
    return _given_hyperparameters.get()


def store_hyperparameters(module: LightningModule, values: dict[str, Any]) -> None:
    """Make ``values`` the hyper-parameters of a module.

    The public method would compare every value with the constructor's arguments, which fails for arrays.
    """
    save_hyperparameters(module, given_hparams=values)
    module._log_hyperparams = True


def trainer_of(module: LightningModule) -> Any:
    """The trainer of a module; ``None`` if it has none, for which the public attribute raises an error."""
    return module._trainer


def num_batches_of_epoch(trainer: Trainer) -> int:
    """Number of batches of the present epoch that were processed."""
    return _batches(trainer).current.processed


def num_batches(trainer: Trainer) -> int:
    """Number of batches of all epochs that are complete."""
    return _batches(trainer).total.completed


def reopen_epoch(checkpoint: dict[str, Any]) -> None:
    """Make a run that resumes from a checkpoint continue the epoch, which Lightning counted as complete."""
    for progress in _loops(checkpoint)["epoch_progress"].values():
        progress["processed"] = progress["completed"] = progress["started"] - 1


def _batches(trainer: Trainer) -> Any:
    return trainer.fit_loop.epoch_loop.batch_progress


def _loops(checkpoint: dict[str, Any]) -> dict[str, Any]:
    return checkpoint["loops"]["fit_loop"]
