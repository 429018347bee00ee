"""The features of source and target in two dimensions, before and after the training."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_warn
from typing_extensions import override

from callbacks._pictures.feature_points import (
    FeaturePoints,
    Projection,
    class_colors,
    draw_features,
    project,
    table_of,
)
from callbacks._pictures.files import classes_of
from callbacks.adaptation._evaluation_rows import LEAST_ROWS, EvaluationRows, is_detection
from callbacks.adaptation._rows import Rows
from lightning_edge.checks import check_whole_at_least

_BACKGROUND = "#CCCCCC"


class FeaturePicture(EvaluationRows):
    """Shows features of source and target after the first and after the last validation of a fit, side by side.

    The features are the input of a layer for samples, pixels of segmentation or candidates of detection, of the
    validation data. Each panel is fitted to both domains together. Points of the source have the color of their class.
    Those of the target are gray or have the color of the class that is predicted for them, **never that of their
    label**. The colors of up to ten classes differ for color-blind readers too. Where the features of both domains are
    alike, the target covers the clusters of the source.

    The data module must evaluate source and target, as
    :class:`~lightning_edge.data.domain_adaptation.AdaptationDataModule` does. Writes ``figures/features.png`` to the
    run's folder at the end of a fit, and ``figures/features_val.png`` after a separate validation. A resumed run keeps
    the points of its first validation. With several processes, the points are those of the first one.

    ======================  =============================================================================  =====
    key                     meaning                                                                        unit
    ======================  =============================================================================  =====
    ``val/features``        the same picture, for a ``WandbLogger`` only                                   image
    ``val/feature_points``  table of epoch, domain, x, y and class (source: labeled, target: predicted),   -
                            for a ``WandbLogger`` only
    ======================  =============================================================================  =====

    Args:
        layer: Name of the layer whose input are the features and whose outputs are the logits. ``None`` means the last
            linear layer or convolution whose outputs are the classes.
        projection: ``pca`` shows the two directions of largest variance, so distances remain comparable. ``tsne`` shows
            neighborhoods (Maaten and Hinton, 2008), and takes a few seconds.
        max_points: Largest number of points of each domain.
        color_target: Whether points of the target have the color of their predicted class.

    Raises:
        ValueError: ``max_points`` is too small. Later: the data module does not evaluate source and target, the module
            has no such layer, or its outputs are not logits of labeled samples, pixels or cells.
    """

    def __init__(
        self,
        layer: str | None = None,
        projection: Projection = "pca",
        max_points: int = 500,
        color_target: bool = False,
    ) -> None:
        check_whole_at_least(LEAST_ROWS, max_points=max_points)
        super().__init__(layer, max_points)
        self.projection: Projection = projection
        self.color_target = color_target
        self._first: FeaturePoints | None = None
        self._last: tuple[int, Rows, Rows] | None = None
        self._folder: str | None = None

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        self._folder = trainer.log_dir  # all processes must ask for it
        self._last = None
        if stage == "fit":
            self._first = None

    @override
    def use_rows(self, trainer: Trainer, module: LightningModule, source: Rows | None, target: Rows | None) -> None:
        if source is None or target is None or not trainer.is_global_zero:
            return
        self._last = trainer.current_epoch, source, target
        if trainer.state.fn == "validate":
            self._show(trainer, [self._points(*self._last)], "features_val.png")
        elif self._first is None:
            self._first = self._points(*self._last)

    @override
    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._last is None:
            return
        is_first = self._first is not None and self._first.epoch == self._last[0]
        self._show(trainer, [self._first, *([] if is_first else [self._points(*self._last)])], "features.png")

    @override
    def state_dict(self) -> dict[str, Any]:
        if self._first is None:
            return {}
        return {"first": [self._first.epoch, *map(torch.from_numpy, self._first[1:])]}

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        if "first" in state_dict:
            epoch, *arrays = state_dict["first"]
            self._first = FeaturePoints(epoch, *(array.numpy() for array in arrays))

    def _points(self, epoch: int, source: Rows, target: Rows) -> FeaturePoints | None:
        """The features in two dimensions; ``None`` if there are too few or some are not finite."""
        features = torch.cat([source.features, target.features])
        if min(len(source.labels), len(target.labels)) < LEAST_ROWS or not features.isfinite().all():
            rank_zero_warn(
                f"There is no picture of the features after epoch {epoch}, because fewer than {LEAST_ROWS} of source "
                "or target were evaluated, or some are NaN."
            )
            return None
        places = project(features.numpy().astype(np.float64), self.projection)
        size = len(source.labels)
        predictions = target.logits.argmax(1).numpy()
        return FeaturePoints(epoch, places[:size], places[size:], source.labels.long().numpy(), predictions)

    def _show(self, trainer: Trainer, panels: Sequence[FeaturePoints | None], name: str) -> None:
        shown = [points for points in panels if points is not None]
        if not shown or not trainer.is_global_zero or getattr(trainer, "fast_dev_run", False):
            return
        data: Any = getattr(trainer, "datamodule", None)
        count = 1 + max(int(labels.max()) for points in shown for labels in (points.label, points.prediction))
        names, palette = classes_of(data, data.num_classes if is_detection(trainer) else count)
        colors = class_colors(palette)
        if is_detection(trainer):
            names, colors = [*names, "background"], [*colors, _BACKGROUND]
        figure = draw_features(shown, names, colors, self.color_target)
        if self._folder is not None:
            path = Path(self._folder) / "figures" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            figure.savefig(path, dpi=120)
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                logger.log_image("val/features", [figure], step=trainer.global_step)
                columns = ["epoch", "domain", "x", "y", "class"]
                logger.log_table("val/feature_points", columns, table_of(shown, names), step=trainer.global_step)
