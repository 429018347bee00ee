"""Predictions as pictures: the classes laid over each frame, and the classes alone."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import BasePredictionWriter
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor
from typing_extensions import override

from lightning_edge.ops.drawing import colour_mask, default_palette, overlay


class OverlayWriter(BasePredictionWriter):
    """Write each predicted frame, its classes laid over it, to ``overlays/<name>.png`` in the run's folder.

    The class of each pixel alone goes to ``masks/<name>.png``, a grey picture of class numbers.

    Takes the predictions of any method whose ``predict_step`` maps a ``FrameBatch`` to one class a pixel. Colours are
    the module's ``palette`` where it has one, as a ``Method`` does that was trained on data with colours.

    Args:
        opacity: Of the colours; 0 shows the frame alone, 1 the colours alone.
        save_masks: Whether to write ``masks``.
    """

    def __init__(self, opacity: float = 0.5, save_masks: bool = True) -> None:
        super().__init__(write_interval="batch")
        if not 0 <= opacity <= 1:
            raise ValueError(f"expected opacity within [0, 1], got {opacity}")
        self.opacity = opacity
        self.save_masks = save_masks

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
        palette = getattr(pl_module, "palette", None)
        for image, mask, name in zip(batch["image"], prediction.cpu().numpy(), batch["name"], strict=True):
            frame = (image.movedim(0, -1) * 255).round().byte().cpu().numpy()
            colours = colour_mask(mask, palette or default_palette(int(mask.max()) + 1))
            _write(self._folder / "overlays" / f"{name}.png", overlay(frame, colours, self.opacity)[..., ::-1])
            self._num_written += 1
            if self.save_masks:
                _write(self._folder / "masks" / f"{name}.png", mask.astype(np.uint8))


def _write(path: Path, picture: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), picture):
        raise OSError(f"expected to write a picture to {path}, got no file: is the disk full?")
