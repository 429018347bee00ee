"""The private interfaces of Lightning that methods use. An upgrade of Lightning may change them.

``tests/upgrade/test_lightning_resume.py`` checks each of them. Lightning counts epochs and batches in four steps
(ready, started, processed, completed), and a resumed run infers from the counts where to continue. A checkpoint has the
counts in its entry ``loops``.
"""

from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.core.mixins.hparams_mixin import _given_hyperparameters
from lightning.pytorch.utilities.parsing import save_hyperparameters

_VALIDATION = "epoch_loop.val_loop.batch_progress"


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


def is_before_validation(trainer: Any) -> bool:
    """Whether a batch of training ends at this moment, as in ``on_train_batch_end``, and a validation follows it."""
    loop = trainer.fit_loop.epoch_loop
    batches = loop.batch_progress.total
    is_batch_end = batches.ready == batches.processed == batches.completed + 1
    # A stop and an interval of time also cause a validation. A run that resumes does not repeat it, because it is not
    # stopped and measures the time from its own start.
    has_other_cause = trainer.should_stop or trainer._val_check_time_interval is not None
    return is_batch_end and not has_other_cause and loop._should_check_val_fx(trainer.fit_loop._data_fetcher)


def begin_validation(checkpoint: dict[str, Any]) -> None:
    """Make a run that resumes from a checkpoint validate first.

    Lightning leaves out a validation that has not begun, but not one that was interrupted. The batch of training
    therefore becomes complete, and the validation one that was interrupted in its first batch.
    """
    for batches in (_loops(checkpoint)["epoch_loop.batch_progress"][name] for name in ("total", "current")):
        batches["completed"] = batches["processed"]
    validation = _loops(checkpoint)[_VALIDATION]
    validation["current"] = dict.fromkeys(validation["current"], 0)
    validation["total"]["ready"] = validation["total"]["started"] = validation["total"]["completed"] + 1


def begins_with_validation(checkpoint: dict[str, Any]) -> bool:
    """Whether a run that resumes from a checkpoint validates first."""
    loops = checkpoint.get("loops", {}).get("fit_loop")
    if not loops:  # a checkpoint of weights alone
        return False
    batches = loops[_VALIDATION]["total"]
    return batches["ready"] == batches["started"] == batches["completed"] + 1


def forget_interrupted_batch(trainer: Trainer) -> None:
    """Remove an interrupted batch of validation from the counts, once Lightning has decided where to continue.

    Otherwise, a checkpoint of the resumed run would be taken for one of an interrupted validation too. Nothing
    changes if no batch was interrupted.
    """
    batches: Any = trainer.fit_loop.epoch_loop.val_loop.batch_progress.total
    batches.ready = batches.started = batches.processed = batches.completed


def _batches(trainer: Trainer) -> Any:
    return trainer.fit_loop.epoch_loop.batch_progress


def _loops(checkpoint: dict[str, Any]) -> dict[str, Any]:
    return checkpoint["loops"]["fit_loop"]
