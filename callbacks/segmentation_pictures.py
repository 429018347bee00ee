"""Image, prediction and truth side by side: the first thing to look at when a score is unexpected."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers import WandbLogger
from torch import Tensor
from typing_extensions import override

from callbacks._pictures.evaluation_pictures import EvaluationPictures
from callbacks._pictures.files import classes_of, enlarge, enlargement, pixels_of, write_picture
from lightning_edge.contracts import IGNORE_INDEX
from lightning_edge.ops.drawing import Palette, color_mask, overlay, tile, with_legend
from lightning_edge.ops.resize import resize_logits

_READABLE_PX = 320
"""Least length of the longer side of an image in the picture."""
_TITLES = ("image", "prediction", "truth")
_IGNORED = "ignored"


class SegmentationPictures(EvaluationPictures):
    """Shows the predictions of a segmentation module on the first images of an evaluation.

    Works with any module whose ``forward`` takes images or clips and returns scores of classes. Batches have ``mask``,
    and ``image`` or ``frames``, of which the last frame is shown. A video net receives the whole clip, so the shown
    frame is as far from the key frame as in any clip. Names and colors of classes are ``class_names`` and ``palette``
    of the data module if it has them. Pixels without a label are black in the truth.

    Writes ``figures/pictures_<stage>_epoch_<epoch>.png`` to the run's folder: one row for each image, with the image,
    the prediction and the truth, and a legend of their classes below. Small images are enlarged by a whole factor.
    With several processes, the images are those of the first process. If the data module has several loaders, each has
    its own picture, whose stage is that of its scores, such as ``val_target``.

    ================  ==============================================================================  ======
    key               meaning                                                                         unit
    ================  ==============================================================================  ======
    ``val/pictures``  images with the masks ``prediction`` and ``truth``, for a ``WandbLogger`` only   image
    ================  ==============================================================================  ======

    Args:
        num_images: Number of images to show.
        every_n_epochs: During training, the validation of every n-th epoch and of the last epoch is shown.
        opacity: Opacity of the colors over the image, 0 to 1.
    """

    def __init__(self, num_images: int = 4, every_n_epochs: int = 1, opacity: float = 0.6) -> None:
        if num_images < 1 or every_n_epochs < 1:
            raise ValueError(
                f"expected num_images and every_n_epochs of at least 1, got {num_images} and {every_n_epochs}"
            )
        super().__init__(every_n_epochs)
        self.num_images = num_images
        self.opacity = opacity
        self._pictures: list[_Picture] = []
        self._num_classes = 0

    _name = "pictures"

    @override
    def _begin(self, trainer: Trainer, module: LightningModule) -> None:
        self._pictures = []

    @override
    def _collect(self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any) -> None:
        num_missing = self.num_images - len(self._pictures)
        if num_missing <= 0 or not trainer.is_global_zero:
            return
        inputs, masks = _inputs_and_masks(batch)
        inputs, masks = inputs[:num_missing], masks[:num_missing]
        with torch.no_grad(), trainer.precision_plugin.forward_context():
            scores = resize_logits(module(inputs).float(), masks)
        self._num_classes = scores.shape[1]
        images = inputs if inputs.ndim == 4 else inputs[:, -1]
        for image, score, mask in zip(images, scores, masks, strict=True):
            self._pictures.append(_Picture(pixels_of(image), _numpy(score.argmax(0).byte()), _numpy(mask.byte())))

    @override
    def _show(self, trainer: Trainer, module: LightningModule, stage: str, path: Path | None) -> None:
        pictures, self._pictures = self._pictures, []
        if not pictures:
            return
        names, palette = classes_of(getattr(trainer, "datamodule", None), self._num_classes)
        if path is not None:
            write_picture(path, _draw(pictures, names, palette, self.opacity))
        images = [picture.image for picture in pictures]
        labels = dict(enumerate(names)) | {IGNORE_INDEX: _IGNORED}
        masks = [picture.masks(labels) for picture in pictures]
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                logger.log_image(f"{stage}/pictures", images, step=trainer.global_step, masks=masks)


@dataclass(frozen=True)
class _Picture:
    image: UInt8[np.ndarray, "height width 3"]
    prediction: UInt8[np.ndarray, "height width"]
    truth: UInt8[np.ndarray, "height width"]

    def row(self, palette: Palette, opacity: float) -> list[np.ndarray]:
        painted = (color_mask(mask, palette) for mask in (self.prediction, self.truth))
        shown = [self.image, *(overlay(self.image, colors, opacity) for colors in painted)]
        return [enlarge(image, enlargement(image, _READABLE_PX)) for image in shown]

    def masks(self, class_labels: dict[int, str]) -> dict[str, dict[str, Any]]:
        layers = {"prediction": self.prediction, "truth": self.truth}
        return {name: {"mask_data": mask, "class_labels": class_labels} for name, mask in layers.items()}


def _draw(
    pictures: Sequence[_Picture], names: Sequence[str], palette: Palette, opacity: float
) -> UInt8[np.ndarray, "height width 3"]:
    table = tile([picture.row(palette, opacity) for picture in pictures], titles=_TITLES)
    masks = [mask.flatten() for picture in pictures for mask in (picture.prediction, picture.truth)]
    entry = dict(enumerate(zip(names, palette, strict=True))) | {IGNORE_INDEX: (_IGNORED, (0, 0, 0))}
    present = [entry[label] for label in np.unique(np.concatenate(masks)).tolist()]
    return with_legend(table, *zip(*present, strict=True))


def _inputs_and_masks(batch: Any) -> tuple[Tensor, Tensor]:
    keys = set(batch) if isinstance(batch, dict) else set()
    if "mask" not in keys or not keys & {"image", "frames"}:
        raise ValueError(f"expected batches with image or frames and mask, got {sorted(keys) or type(batch).__name__}")
    return batch["frames" if "frames" in keys else "image"], batch["mask"]


def _numpy(tensor: Tensor) -> np.ndarray:
    return tensor.cpu().numpy()
