"""The features of source and target in two dimensions, before and after the training."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor, nn
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
from callbacks.adaptation._layers import find_layer
from callbacks.adaptation._rows import Rows, joined, rows_of
from lightning_edge.checks import check_whole_at_least
from lightning_edge.contracts import NamesEvaluations
from lightning_edge.metrics.adaptation.sampled_rows import sampled_rows

_SOURCE, _TARGET = "", "target"
_LEAST_ROWS = 5


class FeaturePicture(Callback):
    """Shows features of source and target after the first and after the last validation of a fit, side by side.

    The features are the input of a layer for samples, or pixels of segmentation, of the validation data. Each panel is
    fitted to both domains together. Points of the source have the color of their class. Those of the target are gray or
    have the color of the class that is predicted for them, **never that of their label**. The colors of up to ten
    classes differ for color-blind readers too. In a picture of features that
    are the same for both domains, the target covers the clusters of the source.

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
            has no such layer, or the batches have no label for each sample or pixel.
    """

    def __init__(
        self,
        layer: str | None = None,
        projection: Projection = "pca",
        max_points: int = 500,
        color_target: bool = False,
    ) -> None:
        check_whole_at_least(_LEAST_ROWS, max_points=max_points)
        self.layer = layer
        self.projection: Projection = projection
        self.max_points = max_points
        self.color_target = color_target
        self._handle: Any = None
        self._seen: tuple[Tensor, Tensor] | None = None
        self._rows: dict[str, list[Rows]] = {}
        self._first: FeaturePoints | None = None
        self._last: tuple[int, Rows, Rows] | None = None
        self._folder: str | None = None

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage not in ("fit", "validate"):
            return
        data = getattr(trainer, "datamodule", None)
        if not isinstance(data, NamesEvaluations) or not {_SOURCE, _TARGET} <= {*data.evaluation_names}:
            raise ValueError(
                "expected a data module that evaluates source and target for FeaturePicture, such as "
                f"AdaptationDataModule(source, target), got {'none' if data is None else type(data).__name__}"
            )
        num_classes = getattr(pl_module, "num_classes", getattr(data, "num_classes", None))
        self._handle = find_layer(pl_module, self.layer, num_classes).module.register_forward_hook(self._see)
        self._folder = trainer.log_dir  # all processes must ask for it
        self._last = None

    @override
    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if self._handle is not None:
            self._handle.remove()
            self._handle = None

    @override
    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self.teardown(trainer, pl_module, "fit")

    @override
    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._rows = {_SOURCE: [], _TARGET: []}

    @override
    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        name = trainer.datamodule.evaluation_names[dataloader_idx]  # pyright: ignore[reportAttributeAccessIssue]
        if self._seen is None or name not in self._rows or trainer.sanity_checking or not trainer.is_global_zero:
            return
        rows = rows_of(*self._seen, batch if name == _SOURCE else None)
        self._seen = None
        num_batches = int(trainer.num_val_batches[dataloader_idx])
        index = sampled_rows(len(rows.logits), batch_idx, num_batches, self.max_points).to(rows.logits.device)
        self._rows[name].append(Rows(*(values[index].float().cpu() for values in rows)))

    @override
    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        source, target = (joined(self._rows[name]) for name in (_SOURCE, _TARGET))
        self._rows = {}
        if source is None or target is None:
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

    def _see(self, layer: nn.Module, inputs: tuple[Tensor, ...], outputs: Any) -> None:
        if not torch.is_grad_enabled():
            self._seen = inputs[0].detach(), outputs.detach()

    def _points(self, epoch: int, source: Rows, target: Rows) -> FeaturePoints | None:
        """The features in two dimensions; ``None`` if there are too few or some are not finite."""
        features = torch.cat([source.features, target.features])
        if min(len(source.labels), len(target.labels)) < _LEAST_ROWS or not features.isfinite().all():
            rank_zero_warn(
                f"There is no picture of the features after epoch {epoch}, because fewer than {_LEAST_ROWS} of source "
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
        count = 1 + max(int(labels.max()) for points in shown for labels in (points.label, points.prediction))
        names, palette = classes_of(getattr(trainer, "datamodule", None), count)
        figure = draw_features(shown, names, class_colors(palette), self.color_target)
        if self._folder is not None:
            path = Path(self._folder) / "figures" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            figure.savefig(path, dpi=120)
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                logger.log_image("val/features", [figure], step=trainer.global_step)
                columns = ["epoch", "domain", "x", "y", "class"]
                logger.log_table("val/feature_points", columns, table_of(shown, names), step=trainer.global_step)
