"""Images next to their translations to the other domain, which grow better in the course of training."""

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import WandbLogger
from torch import Tensor
from typing_extensions import override

from callbacks._pictures.files import enlarge, enlargement, pixels_of, write_picture
from callbacks.adaptation._two_domains import input_key_of, target_batch_of
from callbacks.adaptation.translation import CyCADA
from lightning_edge.checks import check_whole_at_least
from lightning_edge.ops.drawing import tile

_READABLE_PX = 128
"""Least length of the longer side of an image in the picture."""
_TITLES = ("source", "as target", "and back", "target", "as source", "and back")


class TranslationPicture(Callback):
    """Shows source images as CyCADA translates them to the target, and the reverse.

    A translation should have the look of the other domain and show the same thing, and the translation back should be
    the image itself. The images are the first of the first training batch of a fit, without labels. Writes
    ``figures/translations_epoch_<epoch>.png`` to the run's folder, with one row for each image. Small images are
    enlarged by a whole factor. With several processes, the images are those of the first one.

    ======================  ============================================  =====
    key                     meaning                                       unit
    ======================  ============================================  =====
    ``train/translations``  the same picture, for a ``WandbLogger`` only  image
    ======================  ============================================  =====

    Args:
        num_images: Number of images of each domain.
        every_n_epochs: The translations of every n-th epoch and of the last epoch are shown.

    Raises:
        ValueError: An argument is less than 1. Later: the trainer has no ``CyCADA``.
    """

    def __init__(self, num_images: int = 6, every_n_epochs: int = 1) -> None:
        check_whole_at_least(1, num_images=num_images, every_n_epochs=every_n_epochs)
        self.num_images = num_images
        self.every_n_epochs = every_n_epochs
        self._images: tuple[Tensor, Tensor] | None = None
        self._folder: str | None = None

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage == "fit":
            _translation(trainer)
            self._images = None
            self._folder = trainer.log_dir  # all processes must ask for it

    @override
    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if self._images is None:
            key = input_key_of(trainer)
            source, target = (images[: self.num_images] for images in (batch[key], target_batch_of(trainer)[key]))
            self._images = source.clone(), target.clone()  # other callbacks may change them in place

    @override
    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        epoch = trainer.current_epoch + 1
        is_due = epoch % self.every_n_epochs == 0 or epoch == trainer.max_epochs
        is_trial = bool(getattr(trainer, "fast_dev_run", False))
        if is_due and not is_trial and trainer.is_global_zero and self._images is not None:
            self._show(trainer, self._images)

    def _show(self, trainer: Trainer, images: tuple[Tensor, Tensor]) -> None:
        nets = _translation(trainer).nets
        columns: list[Tensor] = []
        with torch.no_grad(), trainer.precision_plugin.forward_context():
            for start, there, back in zip(images, ("to_target", "to_source"), ("to_source", "to_target"), strict=True):
                translated = nets[there](start)
                columns += [start, translated, nets[back](translated)]
        rows = [[pixels_of(image) for image in row] for row in zip(*columns, strict=False)]
        factor = enlargement(rows[0][0], _READABLE_PX)
        picture = tile([[enlarge(image, factor) for image in row] for row in rows], titles=_TITLES)
        if self._folder is not None:
            name = f"translations_epoch_{trainer.current_epoch:03d}.png"
            write_picture(Path(self._folder) / "figures" / name, picture)
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                logger.log_image("train/translations", [picture], step=trainer.global_step)


def _translation(trainer: Trainer) -> CyCADA:
    callbacks: list[Callback] = trainer.callbacks  # pyright: ignore[reportAttributeAccessIssue]
    for callback in callbacks:
        if isinstance(callback, CyCADA):
            return callback
    raise ValueError(
        "expected CyCADA among the callbacks of the trainer, whose translations TranslationPicture shows, got "
        f"{[type(callback).__name__ for callback in callbacks]}"
    )
