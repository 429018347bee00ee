"""Boxes that a detector found beside the true ones: the first thing to look at when a score surprises."""

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
from lightning_edge.contracts import IGNORE_INDEX, DetectionBatch, Detections
from lightning_edge.ops.drawing import Palette, draw_boxes, tile, with_legend

_READABLE_PX = 640
"""Longer side from which names on boxes can be read."""

_GRAY = (160, 160, 160)
_IGNORED = "ignored"


class DetectionPictures(EvaluationPictures):
    """Shows what a detector finds in some images of an evaluation, beside what is true.

    Works on any module whose ``validation_step`` and ``test_step`` return a list of ``Detections``, one for each image
    of a ``DetectionBatch``. These are the first images; where the data module has ``domain_names`` and its batches have
    ``domain``, first one of each domain, and then others where there is room. Names and colors of classes come from
    ``class_names`` and ``palette`` of the data module where it has them. Ignored regions are gray in the truth.

    Leaves ``figures/detections_<stage>_epoch_<epoch>.png`` in the run's folder: one row for each image, without its
    padding and with whole pixels enlarged where it is small, and a legend of the classes below. The name of a box is
    left out where it would cover that of another box. Under several processes the first one shows the images that it
    evaluates.

    ==================  ==============================================================================  =====
    key                 meaning                                                                         unit
    ==================  ==============================================================================  =====
    ``val/detections``  images with the boxes ``prediction`` and ``truth``, to a ``WandbLogger`` only   image
    ==================  ==============================================================================  =====

    Args:
        num_images: how many images to show.
        every_n_epochs: in training, show the validation of every n-th epoch and of the last one only.
        min_score: how sure a detector must be of a box that is shown, 0 to 1.

    Raises:
        ValueError: An argument is out of its range; later, batches or outputs of another kind.
    """

    _name = "detections"

    def __init__(self, num_images: int = 4, every_n_epochs: int = 1, min_score: float = 0.3) -> None:
        if num_images < 1 or every_n_epochs < 1:
            raise ValueError(f"expected num_images and every_n_epochs from 1, got {num_images} and {every_n_epochs}")
        if not 0 <= min_score <= 1:
            raise ValueError(f"expected min_score within [0, 1], got {min_score}")
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
        for index, (found, domain) in enumerate(zip(outputs, domains, strict=True)):
            is_first = domain and domain not in self._firsts and len(self._firsts) < self.num_images
            if not is_first and len(self._others) == self.num_images:
                continue
            picture = _picture(batch, index, found, domain, self.min_score)
            if is_first:
                self._firsts[picture.domain] = picture
            else:
                self._others.append(picture)

    @override
    def _show(self, trainer: Trainer, module: LightningModule, stage: str, path: Path | None) -> None:
        pictures = [*self._firsts.values(), *self._others][: self.num_images]
        if not pictures:
            return
        labels = np.concatenate([boxes.label for picture in pictures for boxes in (picture.found, picture.truth)])
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
    """Empty where it is not known."""
    found: Boxes
    truth: Boxes
    ignored: Boxes

    def draw(self, names: list[str], palette: Palette) -> UInt8[np.ndarray, "height width 3"]:
        """What was found beside what is true."""
        factor = enlargement(self.image, _READABLE_PX)
        image = enlarge(self.image, factor)
        found = _draw(image, self.found, factor, palette, names)
        ignored = self.ignored._replace(label=np.zeros_like(self.ignored.label))
        truth = _draw(_draw(image, ignored, factor, (_GRAY,), ("",)), self.truth, factor, palette, names)
        return tile([[found, truth]], titles=(f"found, {self.domain}" if self.domain else "found", "truth"))

    def wandb_boxes(self, names: list[str]) -> dict[str, dict[str, Any]]:
        """The same in the format of W&B."""
        labels = dict(enumerate(names)) | {IGNORE_INDEX: _IGNORED}
        ignored = self.ignored._replace(label=np.full_like(self.ignored.label, IGNORE_INDEX))
        truth = _wandb_data(self.truth, labels) + _wandb_data(ignored, labels)
        layers = {"prediction": _wandb_data(self.found, labels), "truth": truth}
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
        raise ValueError(f"expected batches as DetectionBatch, got {sorted(keys) or type(batch).__name__}")
    num_images = len(batch["image"])
    if not are_detections(outputs) or len(outputs) != num_images:
        kind = f"{len(outputs)} of them" if are_detections(outputs) else type(outputs).__name__
        raise ValueError(f"expected evaluation steps to return a list of {num_images} Detections, got {kind}")


def _picture(batch: DetectionBatch, index: int, found: Detections, domain: str, min_score: float) -> _Picture:
    height, width = (batch["original_size"][index] * batch["scale"][index]).round().int().tolist()
    image = pixels_of(batch["image"][index])[: max(1, height), : max(1, width)]
    truth = Boxes(as_array(batch["boxes_xyxy"][index]), as_array(batch["label"][index]))
    ignored = Boxes(as_array(batch["ignored_xyxy"][index]), as_array(batch["ignored_label"][index]))
    return _Picture(image, domain, *(_within(image, boxes) for boxes in (boxes_of(found, min_score), truth, ignored)))


def _within(image: np.ndarray, boxes: Boxes) -> Boxes:
    """The boxes without what of them lies in the padding."""
    height, width = image.shape[:2]
    return boxes._replace(xyxy=boxes.xyxy.clip(0, np.array([width, height] * 2, np.float32)))
