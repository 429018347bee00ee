"""What a run had logged when it wrote a checkpoint, so that a run that goes on from there knows it."""

from collections.abc import Mapping
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

_KEY = "logged_metrics"


class LoggedMetrics(Callback):
    """Keep in each checkpoint the last value of each metric, and the row of an epoch whose checkpoint comes before it.

    Lightning logs what it has of a training epoch after the callbacks have seen the epoch's end: a process that is
    killed between would lose that row.
    """

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Called by all processes, as metrics may need."""
        checkpoint[_KEY] = {
            "last": _numbers(trainer.callback_metrics),
            "row": _row_to_come(trainer),
        }


def last_values(checkpoint: Mapping[str, Any]) -> dict[str, float]:
    """Last value of each metric when a checkpoint was written."""
    return dict(checkpoint.get(_KEY, {}).get("last", {}))


def with_its_row(rows: list[dict[str, Any]], checkpoint: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Rows of a resumed run, with the one that its checkpoint came before, unless it was logged after all."""
    row = checkpoint.get(_KEY, {}).get("row")
    if row is None or any(str(other["step"]) == str(row["step"]) and row.keys() <= other.keys() for other in rows):
        return rows
    return [*rows, dict(row)]


def _row_to_come(trainer: Trainer) -> dict[str, float] | None:
    """What Lightning will log of a training epoch that has ended, with its own names for epoch and step."""
    epochs = trainer.fit_loop.epoch_progress.current
    is_to_come = trainer.training and epochs.processed > epochs.completed  # pyright: ignore[reportAttributeAccessIssue]
    values = _numbers(trainer._logger_connector.metrics["log"]) if is_to_come else {}
    if not values:
        return None
    return {"epoch": trainer.current_epoch, **values, "step": trainer.fit_loop.epoch_loop._batches_that_stepped - 1}


def _numbers(values: Mapping[str, Any]) -> dict[str, float]:
    """Those of the values that are numbers: a checkpoint must not fail for what somebody else logs."""
    return {
        name: float(value)
        for name, value in values.items()
        if isinstance(value, int | float) or (isinstance(value, Tensor) and value.numel() == 1)
    }
