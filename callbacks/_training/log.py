"""Values that reach the loggers whatever step they are of."""

from collections.abc import Mapping

import torch
from lightning.pytorch import Trainer


def log_now(trainer: Trainer, values: Mapping[str, float]) -> None:
    """Give values to loggers at once, and to what monitors them.

    Lightning writes what modules log in every so many steps only, and drops what was logged between.
    """
    trainer.callback_metrics.update({name: torch.tensor(value) for name, value in values.items()})
    for logger in trainer.loggers:
        logger.log_metrics(values, step=trainer.global_step)  # pyright: ignore[reportArgumentType]
