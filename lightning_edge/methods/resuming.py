"""What a checkpoint needs so that training resumes after any batch as if it had never been interrupted."""

from typing import Any

from lightning.pytorch import LightningModule
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from lightning_edge.methods import lightning_internals as internals

GRADIENTS_KEY = "accumulated_gradients"
"""Key under which a checkpoint written between two optimizer steps stores the gradients accumulated so far."""


def store_position(module: LightningModule, checkpoint: dict[str, Any]) -> None:
    """Correct the position in the training that Lightning stores, and add the gradients accumulated so far."""
    if _is_epoch_cut(module):  # Lightning would count the epoch as complete and skip the rest of its data
        internals.reopen_epoch(checkpoint)
    trainer = internals.trainer_of(module)
    if trainer is not None and trainer.training and internals.is_before_validation(trainer):
        internals.begin_validation(checkpoint)  # Lightning would leave the validation out
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


def warn_of_lost_validation(module: LightningModule, checkpoint: dict[str, Any]) -> None:
    """Warn where a validation is due, but the trainer has reached ``max_steps`` and does not start at all."""
    trainer = internals.trainer_of(module)
    if trainer is None or trainer.state.fn != TrainerFn.FITTING:
        return
    if 0 <= trainer.max_steps <= checkpoint["global_step"] and internals.has_begun_validation(checkpoint):
        rank_zero_warn(
            f"This checkpoint was written after the last step (max_steps={trainer.max_steps}) and before the "
            "validation that follows it. Lightning trains and validates no more: run validate with this checkpoint."
        )


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
