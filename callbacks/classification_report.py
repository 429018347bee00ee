"""The confusion matrix of a classifier, and its mistakes with the highest confidence."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int64, UInt8
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers import WandbLogger
from matplotlib.figure import Figure
from torch import Tensor
from torchmetrics.classification import MulticlassConfusionMatrix
from typing_extensions import override

from callbacks._pictures.evaluation_pictures import EvaluationPictures, domains_of
from callbacks._pictures.files import classes_of, pixels_of
from lightning_edge.contracts import UNKNOWN_CLASS
from lightning_edge.ops.names import distinct_keys

_MAX_NAMED_CLASSES = 25
"""Names and numbers would be too small to read with more classes."""
_CLASS_LETTERS, _DOMAIN_LETTERS = 18, 25
"""Longest names above an image. Longer names are shortened so that they do not overlap the next title."""


class ClassificationReport(EvaluationPictures):
    """Shows the confusion matrix of a classifier, next to the wrong predictions with the highest confidence.

    Works with any module whose ``validation_step`` and ``test_step`` return scores, ``[B, classes]``. A batch has
    ``image``, in [0, 1], and ``label``, or it is a pair of the two. Images with one channel are gray. The names are
    ``class_names`` of the data module if it has them. If it also has ``domain_names``, and the batches have ``domain``,
    the name of the domain is written above each image. Cells of the matrix are in percent of their row.

    Writes ``figures/classes_<stage>_epoch_<epoch>.png`` to the run's folder. With several processes, the matrix counts
    the images of all processes, and the mistakes are those of the first one. If the data module has several loaders,
    each has its own picture, whose stage is that of its scores, such as ``val_target``.

    ======================  =======================================================  ======
    key                     meaning                                                  unit
    ======================  =======================================================  ======
    ``val/recall_<class>``  share of the images of a class that are predicted right  -
    ``val/classes``         the same picture, for a ``WandbLogger`` only             image
    ======================  =======================================================  ======

    Args:
        num_images: Number of images to show.
        every_n_epochs: During training, the validation of every n-th epoch and of the last epoch is shown.

    Raises:
        ValueError: An argument is less than 1. Later: batches or outputs have another type.
    """

    _name = "classes"

    def __init__(self, num_images: int = 20, every_n_epochs: int = 1) -> None:
        if num_images < 1 or every_n_epochs < 1:
            raise ValueError(
                f"expected num_images and every_n_epochs of at least 1, got {num_images} and {every_n_epochs}"
            )
        super().__init__(every_n_epochs)
        self.num_images = num_images
        self._mistakes: list[_Mistake] = []
        self._confusion: MulticlassConfusionMatrix | None = None
        self._recalls: dict[str, float] = {}

    @override
    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_validation_epoch_end(trainer, pl_module)
        self._log_recalls(pl_module)

    @override
    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_test_epoch_end(trainer, pl_module)
        self._log_recalls(pl_module)

    @override
    def _begin(self, trainer: Trainer, module: LightningModule) -> None:
        self._mistakes, self._confusion = [], None

    @override
    def _collect(self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any) -> None:
        scores, images, labels = _scores_images_labels(outputs, batch)
        if self._confusion is None:
            self._confusion = MulticlassConfusionMatrix(scores.shape[1], ignore_index=UNKNOWN_CLASS).to(scores.device)
        self._confusion.update(scores, labels)
        confidence, predictions = scores.float().softmax(1).max(1)
        wrong = ((predictions != labels) & (labels != UNKNOWN_CLASS)).nonzero().flatten()
        most_confident = wrong[confidence[wrong].argsort(descending=True)][: self.num_images]
        domains = domains_of(trainer, batch, len(labels))
        mistakes = [
            _Mistake(
                float(confidence[index]),
                int(predictions[index]),
                int(labels[index]),
                pixels_of(images[index]),
                domains[index],
            )
            for index in most_confident.tolist()
        ]
        self._mistakes = sorted(self._mistakes + mistakes, key=lambda mistake: -mistake.confidence)[: self.num_images]

    @override
    def _show(self, trainer: Trainer, module: LightningModule, stage: str, path: Path | None) -> None:
        if self._confusion is None:
            return
        confusion = self._confusion.compute().cpu().numpy()  # over all processes
        if not confusion.any():  # no class is known, such as in an unlabeled target
            return
        names, _ = classes_of(getattr(trainer, "datamodule", None), len(confusion))
        self._recalls |= {f"{stage}/recall_{key}": value for key, value in _recalls(confusion, names).items()}
        if not trainer.is_global_zero:
            return
        figure = draw_report(confusion, names[: len(confusion)], self._mistakes, self.num_images)
        if path is not None:
            figure.savefig(path, dpi=120)
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                logger.log_image(f"{stage}/classes", [figure], step=trainer.global_step)

    def _log_recalls(self, module: LightningModule) -> None:
        recalls, self._recalls = self._recalls, {}  # of all loaders, because values can only be logged after the last
        module.log_dict(recalls)


class _Mistake(NamedTuple):
    confidence: float
    """Predicted probability of the predicted class."""
    prediction: int
    label: int
    image: UInt8[np.ndarray, "height width 3"]
    domain: str = ""
    """Empty if it is not known."""


def _recalls(confusion: Int64[np.ndarray, "classes classes"], names: list[str]) -> dict[str, float]:
    """Share of right predictions for the images of each class, by the key of the class; no value without images."""
    keys = distinct_keys(names[: len(confusion)], "class")
    counts = zip(keys, confusion.diagonal(), confusion.sum(1), strict=True)
    return {key: float(num_right / num_images) for key, num_right, num_images in counts if num_images}


def draw_report(
    confusion: Int64[np.ndarray, "classes classes"], names: list[str], mistakes: list[_Mistake], num_images: int
) -> Figure:
    """Draw a confusion matrix in percent of each class, next to images with their predicted and true classes."""
    names = [_shortened(name, _CLASS_LETTERS) for name in names]
    columns = min(5, num_images)
    rows = -(-num_images // columns)
    figure = Figure(figsize=(14, max(6, 1.6 * rows)), layout="constrained")
    halves: Any = figure.subfigures(1, 2, width_ratios=[1, 1.25])
    left, right = halves
    _draw_confusion(left.subplots(), confusion, names)
    axes = right.subplots(rows, columns, squeeze=False).flatten()
    for axis in axes:
        axis.axis("off")
    for axis, mistake in zip(axes, mistakes, strict=False):
        axis.imshow(mistake.image, interpolation="nearest")
        lines = [f"{names[mistake.prediction]} ({mistake.confidence:.0%})", f"not {names[mistake.label]}"]
        lines += [_shortened(mistake.domain, _DOMAIN_LETTERS)] if mistake.domain else []
        axis.set_title("\n".join(lines), fontsize=7)
    right.suptitle("most confident mistakes" if mistakes else "no mistakes", fontsize=9)
    return figure


def _shortened(name: str, num_letters: int) -> str:
    return name if len(name) <= num_letters else f"{name[: num_letters - 1]}…"


def _draw_confusion(axes: Any, confusion: np.ndarray, names: list[str]) -> None:
    totals = confusion.sum(1, keepdims=True)
    percent = 100 * confusion / np.maximum(totals, 1)
    axes.imshow(percent, cmap="Blues", vmin=0, vmax=100)
    axes.set(xlabel="prediction", ylabel="truth")
    accuracy = np.trace(confusion) / max(confusion.sum(), 1)
    axes.set_title(f"accuracy {accuracy:.1%} over {confusion.sum():,} images (cells: percent of their row)", fontsize=9)
    if len(names) > _MAX_NAMED_CLASSES:
        return
    places = range(len(names))
    axes.set_xticks(places, names, rotation=45, ha="right", fontsize=7)
    axes.set_yticks(places, names, fontsize=7)
    for row in places:
        for column in places:
            if confusion[row, column]:
                color = "white" if percent[row, column] > 50 else "black"
                text = f"{percent[row, column]:.0f}"
                axes.text(column, row, text, ha="center", va="center", fontsize=7, color=color)


def _scores_images_labels(outputs: Any, batch: Any) -> tuple[Tensor, Tensor, Tensor]:
    if isinstance(batch, dict) and {"image", "label"} <= set(batch):
        images, labels = batch["image"], batch["label"]
    elif isinstance(batch, tuple | list) and len(batch) == 2:
        images, labels = batch
    else:
        kind = sorted(batch) if isinstance(batch, dict) else type(batch).__name__
        raise ValueError(f"expected batches with image and label, or pairs of the two, got {kind}")
    if not isinstance(outputs, Tensor) or outputs.ndim != 2 or len(outputs) != len(labels):
        kind = tuple(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
        raise ValueError(f"expected evaluation steps to return logits [{len(labels)}, classes], got {kind}")
    return outputs, images, labels
