"""A table with the predictions of a classifier."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import BasePredictionWriter
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor
from typing_extensions import override

from callbacks._csv_text import append_rows, as_text


class PredictionWriter(BasePredictionWriter):
    """Write the class of each predicted image to ``predictions.csv`` in the run's folder, in the order of the images.

    The columns are ``name``, ``class`` and ``class_name``, which is empty if the module has no ``class_names``. A name
    that a spreadsheet would run as a formula, such as ``=1+1`` or ``-5``, gets an apostrophe in front. Works with any
    method whose ``predict_step`` maps a ``FrameBatch`` to one class per image. Each process after the first writes its
    own table, with the number of the process in the name.
    """

    def __init__(self) -> None:
        super().__init__(write_interval="batch")

    @override
    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        number = f"_{trainer.global_rank}" if trainer.global_rank else ""
        self._path = Path(trainer.log_dir or trainer.default_root_dir) / f"predictions{number}.csv"
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.unlink(missing_ok=True)
        append_rows(self._path, [("name", "class", "class_name")])
        self._num_written = 0

    @override
    def write_on_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        prediction: Any,
        batch_indices: Sequence[int] | None,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int,
    ) -> None:
        is_named = isinstance(batch, dict) and "name" in batch
        if not (is_named and isinstance(prediction, Tensor) and prediction.shape == (len(batch["name"]),)):
            keys = sorted(batch) if isinstance(batch, dict) else type(batch).__name__
            kind = tuple(prediction.shape) if isinstance(prediction, Tensor) else type(prediction).__name__
            raise ValueError(
                f"expected batches with name, and a class for each image as prediction, got batches with {keys} and "
                f"predictions {kind}"
            )
        names = getattr(pl_module, "class_names", None) or ()
        classes = prediction.tolist()
        append_rows(
            self._path,
            (
                (as_text(name), index, as_text(str(names[index])) if index < len(names) else "")
                for name, index in zip(batch["name"], classes, strict=True)
            ),
        )
        self._num_written += len(classes)

    @override
    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        rank_zero_info(f"The classes of {self._num_written} images are in {self._path}")
