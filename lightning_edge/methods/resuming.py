"""What a checkpoint needs so that training resumes after any batch as if it had never been interrupted."""

from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from lightning_edge.methods import lightning_internals as internals

GRADIENTS_KEY = "accumulated_gradients"
"""Key under which a checkpoint written between two optimizer steps stores the gradients accumulated so far."""
VALIDATION_KEY = "validation_follows"
"""Key under which a checkpoint written just before a validation stores how often its run validates."""


def store_position(module: LightningModule, checkpoint: dict[str, Any]) -> None:
    """Correct the position in the training that Lightning stores, and add the gradients accumulated so far."""
    if _is_epoch_cut(module):  # Lightning would count the epoch as complete and skip the rest of its data
        internals.reopen_epoch(checkpoint)
    trainer = internals.trainer_of(module)
    if trainer is not None and trainer.training and internals.is_before_validation(trainer):
        checkpoint[VALIDATION_KEY] = _validation_interval(trainer)
    if _is_between_steps(module):
        if module.trainer.world_size > 1:  # each process has its own gradients, but only one writes
            rank_zero_warn(
                "This checkpoint is written between two optimizer steps by several processes. It does not contain "
                "the gradients accumulated so far, so a run that resumes from it makes one smaller step."
            )
        else:
            checkpoint[GRADIENTS_KEY] = {
                name: parameter.grad for name, parameter in module.named_parameters() if parameter.grad is not None
            }


def restore_gradients(module: LightningModule, gradients: dict[str, Tensor]) -> None:
    """Put the accumulated gradients of a checkpoint back, at the start of the training that resumes from it."""
    parameters = dict(module.named_parameters())
    for name, gradient in gradients.items():
        parameters[name].grad = gradient.to(parameters[name].device)


def restore_validation(module: LightningModule, checkpoint: dict[str, Any]) -> None:
    """Make a training that resumes from a checkpoint validate first if the checkpoint was written before a validation.

    Lightning would leave the validation out. The counts change here and not in the file, because a training that does
    not validate there needs those of Lightning. With the changed ones, it would train on one batch too many.
    """
    trainer = internals.trainer_of(module)
    if trainer is None or trainer.state.fn != TrainerFn.FITTING:
        return
    if VALIDATION_KEY in checkpoint and _validates_there(trainer, checkpoint):
        internals.begin_validation(checkpoint)
    _warn_of_lost_validation(trainer, checkpoint)


def _warn_of_lost_validation(trainer: Trainer, checkpoint: dict[str, Any]) -> None:
    """Warn if the checkpoint needs a validation but ``max_steps`` is reached, because Lightning then does not start."""
    if 0 <= trainer.max_steps <= checkpoint["global_step"] and internals.begins_with_validation(checkpoint):
        rank_zero_warn(
            f"This checkpoint was written after the last step (max_steps={trainer.max_steps}) and before the "
            "validation that follows it. Lightning trains and validates no more: run validate with this checkpoint."
        )


def _validates_there(trainer: Trainer, checkpoint: dict[str, Any]) -> bool:
    """Whether this trainer too validates at the position of a checkpoint that was written before a validation."""
    num_epochs = trainer.check_val_every_n_epoch
    is_epoch_with_validation = num_epochs is None or (checkpoint["epoch"] + 1) % num_epochs == 0
    has_same_interval = checkpoint[VALIDATION_KEY] == _validation_interval(trainer)
    return trainer.enable_validation and is_epoch_with_validation and has_same_interval


def _validation_interval(trainer: Trainer) -> dict[str, Any]:
    """After how many batches a trainer validates, and whether it counts the batches of all epochs."""
    return {
        "val_check_interval": repr(trainer.val_check_interval),  # 1 is a batch and 1.0 an epoch, but they are equal
        "counts_all_epochs": trainer.check_val_every_n_epoch is None,
    }


def _is_between_steps(module: LightningModule) -> bool:
    """Whether gradients have been accumulated since the last optimizer step."""
    trainer = internals.trainer_of(module)
    if trainer is None or not module.automatic_optimization:
        return False
    num_batches = internals.num_batches_of_epoch(trainer)
    is_epoch_end = num_batches >= trainer.num_training_batches
    return num_batches % trainer.accumulate_grad_batches > 0 and not is_epoch_end


def _is_epoch_cut(module: LightningModule) -> bool:
    """Whether training stops within an epoch, for example because of ``max_time``."""
    trainer = internals.trainer_of(module)
    if trainer is None or not trainer.should_stop:
        return False
    return 0 < internals.num_batches_of_epoch(trainer) < trainer.num_training_batches < float("inf")
