"""Values that reach the loggers at every step."""

from collections.abc import Mapping

import torch
from lightning.pytorch import Trainer


def log_now(trainer: Trainer, values: Mapping[str, float]) -> None:
    """Pass values to the loggers at once, and to callbacks that monitor them.

    Lightning writes values that modules log only every ``log_every_n_steps`` steps, and drops those in between.
    """
    trainer.callback_metrics.update({name: torch.tensor(value) for name, value in values.items()})
    for logger in trainer.loggers:
        logger.log_metrics(values, step=trainer.global_step)  # pyright: ignore[reportArgumentType]
