"""Predicted boxes next to the true ones: the first thing to look at when a score is unexpected."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers import WandbLogger
from typing_extensions import override

from callbacks._pictures.boxes import Boxes, are_detections, as_array, boxes_of
from callbacks._pictures.evaluation_pictures import EvaluationPictures, domains_of
from callbacks._pictures.files import classes_of, enlarge, enlargement, pixels_of, write_picture
from lightning_edge.checks import check_share
from lightning_edge.contracts import IGNORE_INDEX, DetectionBatch, Detections
from lightning_edge.ops.drawing import Palette, draw_boxes, tile, with_legend

_READABLE_PX = 640
"""Least length of the longer side at which the names on boxes are readable."""

_GRAY = (160, 160, 160)
_IGNORED = "ignored"


class DetectionPictures(EvaluationPictures):
    """Shows the predicted boxes in some images of an evaluation, next to the true boxes.

    Works with any module whose ``validation_step`` and ``test_step`` return a list of ``Detections``, one for each
    image of a ``DetectionBatch``. The first images are shown. If the data module has ``domain_names`` and its batches
    have ``domain``, one image of each domain comes first, and other images follow up to ``num_images``. Names and
    colors of classes are ``class_names`` and ``palette`` of the data module if it has them. Ignored regions are gray in
    the truth.

    Writes ``figures/detections_<stage>_epoch_<epoch>.png`` to the run's folder, with one row for each image and a
    legend of the classes below. Images are shown without padding, and small ones are enlarged by a whole factor. The
    name of a box is left out if it would cover the name of another box. With several processes, the images are those
    of the first process. If the data module has several loaders, each has its own picture, whose stage is that of its
    scores, such as ``val_target``.

    ==================  ==============================================================================  =====
    key                 meaning                                                                         unit
    ==================  ==============================================================================  =====
    ``val/detections``  images with the boxes ``prediction`` and ``truth``, for a ``WandbLogger`` only  image
    ==================  ==============================================================================  =====

    Args:
        num_images: Number of images to show.
        every_n_epochs: During training, the validation of every n-th epoch and of the last epoch is shown.
        min_score: Least score of a box that is shown, 0 to 1.

    Raises:
        ValueError: An argument is out of its range. Later: batches or outputs have another type.
    """

    _name = "detections"

    def __init__(self, num_images: int = 4, every_n_epochs: int = 1, min_score: float = 0.3) -> None:
        if num_images < 1 or every_n_epochs < 1:
            raise ValueError(
                f"expected num_images and every_n_epochs of at least 1, got {num_images} and {every_n_epochs}"
            )
        check_share(min_score=min_score)
        super().__init__(every_n_epochs)
        self.num_images = num_images
        self.min_score = min_score
        self._firsts: dict[str, _Picture] = {}
        self._others: list[_Picture] = []

    @override
    def _begin(self, trainer: Trainer, module: LightningModule) -> None:
        self._firsts, self._others = {}, []

    @override
    def _collect(self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any) -> None:
        _check(outputs, batch)
        if not trainer.is_global_zero:
            return
        domains = domains_of(trainer, batch, len(outputs))
        for index, (detections, domain) in enumerate(zip(outputs, domains, strict=True)):
            is_first = domain and domain not in self._firsts and len(self._firsts) < self.num_images
            if not is_first and len(self._others) == self.num_images:
                continue
            picture = _picture(batch, index, detections, domain, self.min_score)
            if is_first:
                self._firsts[picture.domain] = picture
            else:
                self._others.append(picture)

    @override
    def _show(self, trainer: Trainer, module: LightningModule, stage: str, path: Path | None) -> None:
        pictures = [*self._firsts.values(), *self._others][: self.num_images]
        if not pictures:
            return
        labels = np.concatenate([boxes.label for picture in pictures for boxes in (picture.predicted, picture.truth)])
        names, palette = classes_of(getattr(trainer, "datamodule", None), int(labels.max(initial=-1)) + 1)
        if path is not None:
            table = tile([[picture.draw(names, palette)] for picture in pictures])
            shown: list[int] = np.unique(labels).tolist()
            is_ignoring = any(len(picture.ignored.label) for picture in pictures)
            write_picture(
                path,
                with_legend(
                    table,
                    [names[label] for label in shown] + [_IGNORED] * is_ignoring,
                    [palette[label] for label in shown] + [_GRAY] * is_ignoring,
                ),
            )
        layers: dict[str, list[Any]] = {"boxes": [picture.wandb_boxes(names) for picture in pictures]}
        if self._firsts:
            layers["caption"] = [picture.domain for picture in pictures]
        images = [picture.image for picture in pictures]
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                logger.log_image(f"{stage}/detections", images, step=trainer.global_step, **layers)
        self._begin(trainer, module)


class _Picture(NamedTuple):
    image: UInt8[np.ndarray, "height width 3"]
    domain: str
    """Empty if it is not known."""
    predicted: Boxes
    truth: Boxes
    ignored: Boxes

    def draw(self, names: list[str], palette: Palette) -> UInt8[np.ndarray, "height width 3"]:
        """The image with predicted boxes, next to the image with true boxes."""
        factor = enlargement(self.image, _READABLE_PX)
        image = enlarge(self.image, factor)
        predicted = _draw(image, self.predicted, factor, palette, names)
        ignored = self.ignored._replace(label=np.zeros_like(self.ignored.label))
        truth = _draw(_draw(image, ignored, factor, (_GRAY,), ("",)), self.truth, factor, palette, names)
        return tile(
            [[predicted, truth]], titles=(f"prediction, {self.domain}" if self.domain else "prediction", "truth")
        )

    def wandb_boxes(self, names: list[str]) -> dict[str, dict[str, Any]]:
        """The boxes in the format of W&B."""
        labels = dict(enumerate(names)) | {IGNORE_INDEX: _IGNORED}
        ignored = self.ignored._replace(label=np.full_like(self.ignored.label, IGNORE_INDEX))
        truth = _wandb_data(self.truth, labels) + _wandb_data(ignored, labels)
        layers = {"prediction": _wandb_data(self.predicted, labels), "truth": truth}
        return {name: {"box_data": data, "class_labels": labels} for name, data in layers.items()}


def _draw(image: np.ndarray, boxes: Boxes, factor: int, palette: Palette, names: Any) -> np.ndarray:
    return draw_boxes(image, factor * boxes.xyxy, boxes.label, palette, names, boxes.score, thickness=2)


def _wandb_data(boxes: Boxes, class_labels: dict[int, str]) -> list[dict[str, Any]]:
    data = []
    for index, (corners, label) in enumerate(zip(boxes.xyxy.tolist(), boxes.label.tolist(), strict=True)):
        position = dict(zip(("minX", "minY", "maxX", "maxY"), corners, strict=True))
        box = {"position": position, "domain": "pixel", "class_id": label, "box_caption": class_labels[label]}
        if boxes.score is not None:
            score = float(boxes.score[index])
            box |= {"scores": {"score": score}, "box_caption": f"{class_labels[label]} {score:.2f}"}
        data.append(box)
    return data


def _check(outputs: Any, batch: Any) -> None:
    keys = set(batch) if isinstance(batch, dict) else set()
    if not DetectionBatch.__required_keys__ <= keys:
        got = sorted(keys) or type(batch).__name__
        raise ValueError(f"DetectionPictures expected batches as DetectionBatch, got {got}")
    num_images = len(batch["image"])
    if not are_detections(outputs) or len(outputs) != num_images:
        kind = f"{len(outputs)} of them" if are_detections(outputs) else type(outputs).__name__
        raise ValueError(f"expected evaluation steps to return a list of {num_images} Detections, got {kind}")


def _picture(batch: DetectionBatch, index: int, detections: Detections, domain: str, min_score: float) -> _Picture:
    height, width = (batch["original_size"][index] * batch["scale"][index]).round().int().tolist()
    image = pixels_of(batch["image"][index])[: max(1, height), : max(1, width)]
    truth = Boxes(as_array(batch["boxes_xyxy"][index]), as_array(batch["label"][index]))
    ignored = Boxes(as_array(batch["ignored_xyxy"][index]), as_array(batch["ignored_label"][index]))
    return _Picture(
        image, domain, *(_within(image, boxes) for boxes in (boxes_of(detections, min_score), truth, ignored))
    )


def _within(image: np.ndarray, boxes: Boxes) -> Boxes:
    """Clip the boxes to the image, without its padding."""
    height, width = image.shape[:2]
    return boxes._replace(xyxy=boxes.xyxy.clip(0, np.array([width, height] * 2, np.float32)))
