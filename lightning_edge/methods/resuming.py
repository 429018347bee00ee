"""What a checkpoint needs so that training resumes after any batch as if it had never been interrupted."""

from typing import Any

from lightning.pytorch import LightningModule
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from lightning_edge.methods import lightning_internals as internals

GRADIENTS_KEY = "accumulated_gradients"
"""Key under which a checkpoint written between two optimizer steps stores the gradients accumulated so far."""


def store_position(module: LightningModule, checkpoint: dict[str, Any]) -> None:
    """Correct the position in the training that Lightning stores, and add the gradients accumulated so far."""
    if _is_epoch_cut(module):  # Lightning would count the epoch as complete and skip the rest of its data
        internals.reopen_epoch(checkpoint)
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
