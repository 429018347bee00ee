"""The metrics at the time of a checkpoint, for the run that resumes from it."""

from collections.abc import Mapping
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

_KEY = "logged_metrics"


class LoggedMetrics(Callback):
    """Store in each checkpoint the last value of each metric, and the row of the epoch if it is not logged yet.

    Lightning logs the metrics of a training epoch after the callbacks have seen the end of the epoch. A process that is
    killed between the two would lose that row.
    """

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Runs in all processes, because computing a metric may need all of them."""
        checkpoint[_KEY] = {
            "last": _numbers(trainer.callback_metrics),
            "row": _row_to_come(trainer),
        }


def last_values(checkpoint: Mapping[str, Any]) -> dict[str, float]:
    """The last value of each metric at the time of a checkpoint."""
    return dict(checkpoint.get(_KEY, {}).get("last", {}))


def with_its_row(rows: list[dict[str, Any]], checkpoint: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Rows of a resumed run, with the row that is stored in its checkpoint unless that was logged too."""
    row = checkpoint.get(_KEY, {}).get("row")
    if row is None or any(str(other["step"]) == str(row["step"]) and row.keys() <= other.keys() for other in rows):
        return rows
    return [*rows, dict(row)]


def _row_to_come(trainer: Trainer) -> dict[str, float] | None:
    """The row that Lightning will log for a finished training epoch, with Lightning's names for epoch and step."""
    epochs = trainer.fit_loop.epoch_progress.current
    is_to_come = trainer.training and epochs.processed > epochs.completed  # pyright: ignore[reportAttributeAccessIssue]
    values = _numbers(trainer._logger_connector.metrics["log"]) if is_to_come else {}
    if not values:
        return None
    return {"epoch": trainer.current_epoch, **values, "step": trainer.fit_loop.epoch_loop._batches_that_stepped - 1}


def _numbers(values: Mapping[str, Any]) -> dict[str, float]:
    """The values that are numbers. Others are skipped, so that no checkpoint fails because of them."""
    return {
        name: float(value)
        for name, value in values.items()
        if isinstance(value, int | float) or (isinstance(value, Tensor) and value.numel() == 1)
    }
