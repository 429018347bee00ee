"""Which classes a classifier takes for which, and the images that it is most wrongly sure of."""

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

_MAX_NAMED_CLASSES = 25
"""With more classes, names and numbers would be too small to read."""
_CLASS_LETTERS, _DOMAIN_LETTERS = 18, 25
"""Longest names that are written above an image; longer ones are cut so that they do not reach into the next title."""


class ClassificationReport(EvaluationPictures):
    """Shows what a classifier mistakes: the confusion matrix beside the images it is wrong about and most sure of.

    Works on any module whose ``validation_step`` and ``test_step`` return scores, ``[B, classes]``, and on batches with
    ``image``, in [0, 1], and ``label``, or of the two in this order. Images of one channel are gray. Names come from
    ``class_names`` of the data module where it has them. If it also has ``domain_names``, and batches have ``domain``,
    the name of the domain stands above each image. Cells of the matrix are percent of their row.

    Leaves ``figures/classes_<stage>_epoch_<epoch>.png`` in the run's folder. Under several processes the matrix counts
    the images of all of them, and the first one shows those that it evaluates.

    ================  =============================================  ======
    key               meaning                                        unit
    ================  =============================================  ======
    ``val/classes``   the same picture, to a ``WandbLogger`` only    image
    ================  =============================================  ======

    Args:
        num_images: how many images to show.
        every_n_epochs: in training, show the validation of every n-th epoch and of the last one only.

    Raises:
        ValueError: An argument is less than 1; later, batches or outputs of another kind.
    """

    _name = "classes"

    def __init__(self, num_images: int = 20, every_n_epochs: int = 1) -> None:
        if num_images < 1 or every_n_epochs < 1:
            raise ValueError(f"expected num_images and every_n_epochs from 1, got {num_images} and {every_n_epochs}")
        super().__init__(every_n_epochs)
        self.num_images = num_images
        self._mistakes: list[_Mistake] = []
        self._confusion: MulticlassConfusionMatrix | None = None

    @override
    def _begin(self, trainer: Trainer, module: LightningModule) -> None:
        self._mistakes, self._confusion = [], None

    @override
    def _collect(self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any) -> None:
        scores, images, labels = _scores_images_labels(outputs, batch)
        if self._confusion is None:
            self._confusion = MulticlassConfusionMatrix(scores.shape[1]).to(scores.device)
        self._confusion.update(scores, labels)
        sureness, predictions = scores.float().softmax(1).max(1)
        wrong = (predictions != labels).nonzero().flatten()
        surest = wrong[sureness[wrong].argsort(descending=True)][: self.num_images]
        domains = domains_of(trainer, batch, len(labels))
        mistakes = [
            _Mistake(
                float(sureness[index]),
                int(predictions[index]),
                int(labels[index]),
                pixels_of(images[index]),
                domains[index],
            )
            for index in surest.tolist()
        ]
        self._mistakes = sorted(self._mistakes + mistakes, key=lambda mistake: -mistake.sureness)[: self.num_images]

    @override
    def _show(self, trainer: Trainer, module: LightningModule, stage: str, path: Path | None) -> None:
        if self._confusion is None:
            return
        confusion = self._confusion.compute().cpu().numpy()  # of all processes
        if not trainer.is_global_zero:
            return
        names, _ = classes_of(getattr(trainer, "datamodule", None), len(confusion))
        figure = draw_report(confusion, names[: len(confusion)], self._mistakes, self.num_images)
        if path is not None:
            figure.savefig(path, dpi=120)
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                logger.log_image(f"{stage}/classes", [figure], step=trainer.global_step)


class _Mistake(NamedTuple):
    sureness: float
    """Probability that was given to the prediction."""
    prediction: int
    label: int
    image: UInt8[np.ndarray, "height width 3"]
    domain: str = ""
    """Empty where it is not known."""


def draw_report(
    confusion: Int64[np.ndarray, "classes classes"], names: list[str], mistakes: list[_Mistake], num_images: int
) -> Figure:
    """A confusion matrix, in percent of the images of each class, beside images with their wrong and right names."""
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
        lines = [f"{names[mistake.prediction]} ({mistake.sureness:.0%})", f"not {names[mistake.label]}"]
        lines += [_shortened(mistake.domain, _DOMAIN_LETTERS)] if mistake.domain else []
        axis.set_title("\n".join(lines), fontsize=7)
    right.suptitle("wrong and most sure" if mistakes else "nothing is wrong", fontsize=9)
    return figure


def _shortened(name: str, num_letters: int) -> str:
    return name if len(name) <= num_letters else f"{name[: num_letters - 1]}…"


def _draw_confusion(axes: Any, confusion: np.ndarray, names: list[str]) -> None:
    totals = confusion.sum(1, keepdims=True)
    percent = 100 * confusion / np.maximum(totals, 1)
    axes.imshow(percent, cmap="Blues", vmin=0, vmax=100)
    axes.set(xlabel="prediction", ylabel="truth")
    right = np.trace(confusion) / max(confusion.sum(), 1)
    axes.set_title(f"{right:.1%} of {confusion.sum():,} right (cells: percent of their row)", fontsize=9)
    if len(names) > _MAX_NAMED_CLASSES:
        return
    places = range(len(names))
    axes.set_xticks(places, names, rotation=45, ha="right", fontsize=7)
    axes.set_yticks(places, names, fontsize=7)
    for row in places:
        for column in places:
            if confusion[row, column]:
                colour = "white" if percent[row, column] > 50 else "black"
                text = f"{percent[row, column]:.0f}"
                axes.text(column, row, text, ha="center", va="center", fontsize=7, color=colour)


def _scores_images_labels(outputs: Any, batch: Any) -> tuple[Tensor, Tensor, Tensor]:
    if isinstance(batch, dict) and {"image", "label"} <= set(batch):
        images, labels = batch["image"], batch["label"]
    elif isinstance(batch, tuple | list) and len(batch) == 2:
        images, labels = batch
    else:
        given = sorted(batch) if isinstance(batch, dict) else type(batch).__name__
        raise ValueError(f"expected batches with image and label, or of these two, got {given}")
    if not isinstance(outputs, Tensor) or outputs.ndim != 2 or len(outputs) != len(labels):
        kind = tuple(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
        raise ValueError(f"expected evaluation steps to return scores [{len(labels)}, classes], got {kind}")
    return outputs, images, labels
