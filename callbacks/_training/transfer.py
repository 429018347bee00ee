"""Batches of a loader that Lightning does not iterate over, on the device."""

from typing import Any

from lightning.pytorch import LightningDataModule, Trainer
from lightning.pytorch.utilities.model_helpers import is_overridden

_HOOK = "on_before_batch_transfer"


def to_device(trainer: Trainer, batch: Any) -> Any:
    """The batch that a step of the module receives: converted to its precision, and passed through all hooks once."""
    data: Any = getattr(trainer, "datamodule", None)
    is_of_data = data is not None and is_overridden(_HOOK, data, LightningDataModule)
    hook = getattr(data if is_of_data else trainer.lightning_module, _HOOK)
    # the strategy also calls the hooks of the transfer itself and after it
    return trainer.strategy.batch_to_device(hook(trainer.precision_plugin.convert_input(batch), 0))
