"""Predicted boxes in a table and drawn on the frames."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import BasePredictionWriter
from lightning.pytorch.utilities import rank_zero_info
from typing_extensions import override

from callbacks._csv_text import append_rows, as_text
from callbacks._pictures.boxes import Boxes, are_detections, boxes_of
from callbacks._pictures.files import classes_of, pixels_of, write_picture
from lightning_edge.checks import check_share
from lightning_edge.contracts import FrameBatch
from lightning_edge.ops.drawing import draw_boxes

_COLUMNS = ("name", "frame_index", "x1", "y1", "x2", "y2", "score", "class")


class DetectionWriter(BasePredictionWriter):
    """Write the predicted boxes to ``predictions/boxes.csv`` in the run's folder, sorted by score in each frame.

    Each frame is written to ``predictions/<name>.jpg`` with the same boxes. Boxes are in pixels of the frame that the
    net received, which is also the frame that is drawn. Their edges follow the convention of the training labels: for
    BDD100K, x2 and y2 are the last pixels inside the box. Classes without a name are written as numbers. A name that a
    spreadsheet would run as a formula, such as ``=1+1`` or ``-5``, gets an apostrophe in front.

    Works with any method whose ``predict_step`` maps a ``FrameBatch`` to a list of ``Detections``; other predictions
    are ignored. Names and colors of classes are ``class_names`` and ``palette`` of the module if it has them. Each
    process after the first writes its own table, with the number of the process in the name.

    Args:
        min_score: Least score of a box, 0 to 1. Boxes below it are neither written to the table nor drawn. Set it to 0
            to compute average precision from the table, which needs all boxes.

    Raises:
        ValueError: ``min_score`` is out of its range.
    """

    def __init__(self, min_score: float = 0.3) -> None:
        super().__init__(write_interval="batch")
        check_share(min_score=min_score)
        self.min_score = min_score

    @override
    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        number = f"_{trainer.global_rank}" if trainer.global_rank else ""
        self._folder = Path(trainer.log_dir or trainer.default_root_dir) / "predictions"
        self._path = self._folder / f"boxes{number}.csv"
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
        if not are_detections(prediction):
            return
        keys = set(batch) if isinstance(batch, dict) else set()
        if not FrameBatch.__required_keys__ <= keys:
            raise ValueError(
                f"DetectionWriter expected batches as FrameBatch, got {sorted(keys) or type(batch).__name__}"
            )
        if not self._num_written:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._path.unlink(missing_ok=True)
            append_rows(self._path, [_COLUMNS])
        frames = zip(batch["image"], batch["name"], batch["frame_index"].tolist(), prediction, strict=True)
        for image, name, frame_index, detections in frames:
            boxes = boxes_of(detections, self.min_score)
            append_rows(self._path, _rows(pl_module, name, frame_index, boxes))
            self._draw(pl_module, image, name, boxes)
            self._num_written += 1

    @override
    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._num_written:
            which = f"with a score of at least {self.min_score:g}"
            rank_zero_info(f"The boxes of {self._num_written} frames {which} are in {self._path}")

    def _draw(self, module: LightningModule, image: Any, name: str, boxes: Boxes) -> None:
        names, palette = classes_of(module, int(boxes.label.max(initial=-1)) + 1)
        picture = draw_boxes(pixels_of(image), boxes.xyxy, boxes.label, palette, names, boxes.score, thickness=2)
        write_picture(self._folder / f"{name}.jpg", picture)


def _rows(module: LightningModule, name: str, frame_index: int, boxes: Boxes) -> Iterable[Sequence[Any]]:
    names = getattr(module, "class_names", None) or ()
    assert boxes.score is not None
    for box, score, label in zip(boxes.xyxy.tolist(), boxes.score.tolist(), boxes.label.tolist(), strict=True):
        class_name = as_text(str(names[label])) if label < len(names) else label
        yield as_text(name), frame_index, *(f"{edge:.2f}" for edge in box), f"{score:.4f}", class_name
