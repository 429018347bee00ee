"""Predictions as pictures: the classes laid over each frame, and the classes alone."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import BasePredictionWriter
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor
from typing_extensions import override

from callbacks._pictures.files import classes_of, enlarge, enlargement, pixels_of, write_picture
from lightning_edge.ops.drawing import colour_mask, overlay, with_legend

_READABLE_PX = 640
"""Least length of the longer side of a frame with a legend, which would otherwise be larger than the frame."""


class OverlayWriter(BasePredictionWriter):
    """Write each predicted frame, its classes laid over it, to ``overlays/<name>.png`` in the run's folder.

    Each overlay has a legend below the frame, and small frames are enlarged by a whole factor. The legend shows all
    classes, so that the overlays of a video have one size. The class of each pixel alone goes to ``masks/<name>.png``,
    a gray picture of class numbers in the size of the frame.

    Takes the predictions of any method whose ``predict_step`` maps a ``FrameBatch`` to one class a pixel. Names and
    colors are ``class_names`` and ``palette`` of the module where it has them, as a ``Method`` does that was trained on
    data with both.

    Args:
        opacity: Of the colors; 0 shows the frame alone, 1 the colors alone.
        save_masks: Whether to write ``masks``.
        legend: Whether to draw the legend. Without it, an overlay has the size of its frame.
    """

    def __init__(self, opacity: float = 0.5, save_masks: bool = True, legend: bool = True) -> None:
        super().__init__(write_interval="batch")
        if not 0 <= opacity <= 1:
            raise ValueError(f"expected opacity within [0, 1], got {opacity}")
        self.opacity = opacity
        self.save_masks = save_masks
        self.legend = legend

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._folder = Path(trainer.log_dir or trainer.default_root_dir)
        self._num_written = 0

    @override
    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        masks = f", their masks of classes in {self._folder / 'masks'}" if self.save_masks else ""
        rank_zero_info(f"{self._num_written} overlays are in {self._folder / 'overlays'}{masks}")

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
        if not (isinstance(batch, dict) and {"image", "name"} <= set(batch) and isinstance(prediction, Tensor)):
            given = sorted(batch) if isinstance(batch, dict) else type(batch).__name__
            raise ValueError(
                "expected batches with image and name, and a tensor of classes for each as prediction, "
                f"got batches with {given} and predictions of {type(prediction).__name__}"
            )
        num_classes = getattr(pl_module, "num_classes", 0)
        for image, mask, name in zip(batch["image"], prediction.cpu().numpy(), batch["name"], strict=True):
            names, palette = classes_of(pl_module, max(num_classes, int(mask.max()) + 1))
            picture = overlay(pixels_of(image), colour_mask(mask, palette), self.opacity)
            if self.legend:
                picture = with_legend(enlarge(picture, enlargement(picture, _READABLE_PX)), names, palette)
            write_picture(self._folder / "overlays" / f"{name}.png", picture)
            self._num_written += 1
            if self.save_masks:
                write_picture(self._folder / "masks" / f"{name}.png", mask.astype(np.uint8))
