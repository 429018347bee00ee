"""Scores that select a checkpoint for the target without its labels."""

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_warn
from rich.console import Console
from torch import Tensor, nn
from typing_extensions import override

from callbacks.adaptation._layers import find_layer
from callbacks.adaptation._rows import Rows, joined, rows_of
from lightning_edge.analysis.model_selection import selection_table, selections
from lightning_edge.checks import check_whole_at_least
from lightning_edge.contracts import NamesEvaluations
from lightning_edge.metrics.adaptation.sampled_rows import sampled_rows
from lightning_edge.metrics.adaptation.target_free_scores import KEYS, target_free_scores

GROUP = "target_free"
"""First part of the keys of the scores."""
_LEAST_ROWS = 5
_SOURCE, _TARGET = "", "target"


class TargetFreeScores(Callback):
    """Scores the module for the target after each validation, **without labels of the target**.

    A checkpoint is then selected as on a real target, for example by
    ``ModelCheckpoint(monitor="target_free/information", mode="max")``. The scores compare features and logits of a
    layer on the validation data of source and target, so the data module must evaluate both, as
    :class:`~lightning_edge.data.domain_adaptation.AdaptationDataModule` does. For segmentation, they are computed from
    a sample of pixels. At the end of the fit, a table shows which accuracy each score would have selected, next to the
    last and the best one, and how well it ranks the epochs. For this table alone, labels of the target are used, and
    only if ``accuracy`` was logged.

    ==============================================  =============================================================  ====
    key                                             meaning                                                        unit
    ==============================================  =============================================================  ====
    ``target_free/<score>``                         a score of                                                     -
                                                    :func:`~lightning_edge.metrics.adaptation.target_free_scores`
    ==============================================  =============================================================  ====

    All scores are better if they are higher. With several processes, each one scores its share of the data, and the
    mean is logged.

    Args:
        layer: Name of the layer whose input are the features and whose outputs are the logits. ``None`` means the last
            linear layer or convolution whose outputs are the classes.
        max_rows: Largest number of samples or pixels of each domain.
        accuracy: Key of the accuracy on the target, for the table at the end.
        show_table: Whether to print that table.

    Raises:
        ValueError: ``max_rows`` is too small. Later: the data module does not evaluate source and target, or the module
            has no such layer.
    """

    def __init__(
        self,
        layer: str | None = None,
        max_rows: int = 2000,
        accuracy: str = "val_target/accuracy",
        show_table: bool = True,
    ) -> None:
        check_whole_at_least(_LEAST_ROWS, max_rows=max_rows)
        self.layer = layer
        self.max_rows = max_rows
        self.accuracy = accuracy
        self.show_table = show_table
        self._handle: Any = None
        self._seen: tuple[Tensor, Tensor] | None = None
        self._rows: dict[str, list[Rows]] = {}
        self._folder: str | None = None

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage not in ("fit", "validate"):
            return
        data = getattr(trainer, "datamodule", None)
        if not isinstance(data, NamesEvaluations) or not {_SOURCE, _TARGET} <= {*data.evaluation_names}:
            raise ValueError(
                "expected a data module that evaluates source and target for TargetFreeScores, such as "
                f"AdaptationDataModule(source, target), got {'none' if data is None else type(data).__name__}"
            )
        num_classes = getattr(pl_module, "num_classes", getattr(data, "num_classes", None))
        layer = find_layer(pl_module, self.layer, num_classes)
        self._handle = layer.module.register_forward_hook(self._see)
        self._folder = trainer.log_dir  # all processes must ask for it

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
        if self._seen is None or name not in self._rows:
            return
        rows = rows_of(*self._seen, batch if name == _SOURCE else None)
        num_batches = trainer.num_val_batches[dataloader_idx]
        index = sampled_rows(len(rows.logits), batch_idx, int(num_batches), self.max_rows).to(rows.logits.device)
        self._rows[name].append(Rows(*(values[index].float().cpu() for values in rows)))
        self._seen = None

    @override
    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.sanity_checking:
            scores = self._scores()
            pl_module.log_dict({f"{GROUP}/{key}": value for key, value in scores.items()}, sync_dist=True)
        self._rows = {}

    @override
    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not self.show_table or not trainer.is_global_zero or self._folder is None:
            return
        for logger in trainer.loggers:
            logger.save()
        keys = [f"{GROUP}/{key}" for key in KEYS]
        try:
            chosen = selections(Path(self._folder), keys, self.accuracy)
        except (FileNotFoundError, ValueError):  # no CSVLogger, or no labels of the target
            return
        Console(soft_wrap=True, highlight=False).print(selection_table([chosen]))

    def _see(self, layer: nn.Module, inputs: tuple[Tensor, ...], outputs: Any) -> None:
        if not torch.is_grad_enabled():
            self._seen = inputs[0].detach(), outputs.detach()

    def _scores(self) -> dict[str, float]:
        parts = [joined(self._rows[name]) for name in (_SOURCE, _TARGET)]
        if any(part is None or len(part.logits) < _LEAST_ROWS for part in parts):
            rank_zero_warn(f"TargetFreeScores needs {_LEAST_ROWS} samples of source and target, so its scores are NaN.")
            return dict.fromkeys(KEYS, torch.nan)
        source, target = parts
        assert source is not None
        assert target is not None
        if not all(values.isfinite().all() for values in (*source[:2], *target[:2])):
            rank_zero_warn("The features or logits contain NaN, so all scores without target labels are NaN.")
            return dict.fromkeys(KEYS, torch.nan)
        return target_free_scores(source.features, source.logits, source.labels.long(), target.features, target.logits)
