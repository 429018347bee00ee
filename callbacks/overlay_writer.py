"""Predictions as pictures: the classes over each frame, and masks of the classes."""

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
from lightning_edge.checks import check_share
from lightning_edge.ops.drawing import color_mask, overlay, with_legend

_READABLE_PX = 640
"""Least length of the longer side of a frame with a legend. Otherwise the legend would be larger than the frame."""


class OverlayWriter(BasePredictionWriter):
    """Write each frame with its predicted classes in color to ``overlays/<name>.png`` in the run's folder.

    Each overlay has a legend below the frame, and small frames are enlarged by a whole factor. The legend shows all
    classes, so that all overlays of a video have the same size. The class of each pixel is also written to
    ``masks/<name>.png``, a gray picture of class numbers in the size of the frame.

    Works with any method whose ``predict_step`` maps a ``FrameBatch`` to one class per pixel. Names and colors are
    ``class_names`` and ``palette`` of the module if it has them. A ``Method`` has them if its training data had both.

    Args:
        opacity: Opacity of the colors; 0 shows only the frame, 1 only the colors.
        save_masks: Whether to write the masks.
        legend: Whether to draw the legend. Without it, an overlay has the size of its frame.
    """

    def __init__(self, opacity: float = 0.5, save_masks: bool = True, legend: bool = True) -> None:
        super().__init__(write_interval="batch")
        check_share(opacity=opacity)
        self.opacity = opacity
        self.save_masks = save_masks
        self.legend = legend

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._folder = Path(trainer.log_dir or trainer.default_root_dir)
        self._num_written = 0

    @override
    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        masks = f", and their class masks are in {self._folder / 'masks'}" if self.save_masks else ""
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
            kind = sorted(batch) if isinstance(batch, dict) else type(batch).__name__
            raise ValueError(
                "expected batches with image and name, and a tensor of classes for each image as prediction, "
                f"got batches with {kind} and predictions of {type(prediction).__name__}"
            )
        num_classes = getattr(pl_module, "num_classes", 0)
        for image, mask, name in zip(batch["image"], prediction.cpu().numpy(), batch["name"], strict=True):
            names, palette = classes_of(pl_module, max(num_classes, int(mask.max()) + 1))
            picture = overlay(pixels_of(image), color_mask(mask, palette), self.opacity)
            if self.legend:
                picture = with_legend(enlarge(picture, enlargement(picture, _READABLE_PX)), names, palette)
            write_picture(self._folder / "overlays" / f"{name}.png", picture)
            self._num_written += 1
            if self.save_masks:
                write_picture(self._folder / "masks" / f"{name}.png", mask.astype(np.uint8))
