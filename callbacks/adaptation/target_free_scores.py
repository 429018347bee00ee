"""Scores that select a checkpoint for the target without its labels."""

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_warn
from rich.console import Console
from torch import Tensor, nn
from typing_extensions import override

from callbacks.adaptation._layers import find_layer
from callbacks.adaptation._rows import Rows, joined, rows_of
from lightning_edge.analysis.model_selection import select_epochs, selection_table
from lightning_edge.checks import check_whole_at_least
from lightning_edge.contracts import NamesEvaluations
from lightning_edge.metrics.adaptation.sampled_rows import sampled_rows
from lightning_edge.metrics.adaptation.target_free_scores import KEYS, target_free_scores
from lightning_edge.torch_internals import is_compiled

_SCORES = [f"target_free/{key}" for key in KEYS]
"""Keys under which the scores are logged."""
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
        ValueError: ``max_rows`` is too small. Later: the data module does not evaluate source and target, the module
            has no such layer, or it has no logits and labels of samples or pixels.
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
        """Rows of each domain during a validation."""
        self._evaluations: list[dict[str, float]] = []
        """Epoch, scores and accuracy of each validation of the fit."""

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage not in ("fit", "validate"):
            return
        data = getattr(trainer, "datamodule", None)
        names = data.evaluation_names if isinstance(data, NamesEvaluations) else ()
        if not {_SOURCE, _TARGET} <= {*names}:
            raise ValueError(
                "expected a data module that evaluates source and target for TargetFreeScores, such as "
                f"AdaptationDataModule(source, target), got {'none' if data is None else type(data).__name__}"
                + (", which evaluates one of them" if names else "")
            )
        num_classes = getattr(pl_module, "num_classes", getattr(data, "num_classes", None))
        layer = find_layer(pl_module, self.layer, num_classes)
        self._handle = layer.module.register_forward_hook(self._see)
        self._evaluations = []
        if is_compiled(pl_module):  # compiled code ignores hooks that are added later
            torch.compiler.reset()

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
        seen, self._seen = self._seen, None
        if name not in self._rows:
            return
        if seen is None:
            raise ValueError(
                f"expected layer as a part of {type(pl_module).__name__} that runs in validation_step, got one that "
                "did not run"
            )
        rows = rows_of(*seen, batch if name == _SOURCE else None)
        num_batches = trainer.num_val_batches[dataloader_idx]
        index = sampled_rows(len(rows.logits), batch_idx, int(num_batches), self.max_rows).to(rows.logits.device)
        self._rows[name].append(Rows(*(values[index].float().cpu() for values in rows)))

    @override
    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.sanity_checking:
            scores = self._scores()
            pl_module.log_dict({f"target_free/{key}": value for key, value in scores.items()}, sync_dist=True)
        self._rows = {}

    @override
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.sanity_checking:
            keys = {self.accuracy, *_SCORES} & trainer.callback_metrics.keys()
            values = {key: float(trainer.callback_metrics[key]) for key in keys}
            self._evaluations.append({"epoch": trainer.current_epoch, **values})

    @override
    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        has_accuracy = any(self.accuracy in values for values in self._evaluations)
        if self.show_table and has_accuracy and trainer.is_global_zero:
            chosen = select_epochs(self._evaluations, _SCORES, self.accuracy)
            Console(soft_wrap=True, highlight=False).print(selection_table([chosen]))

    @override
    def state_dict(self) -> dict[str, Any]:
        return {"evaluations": self._evaluations}

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._evaluations = list(state_dict["evaluations"])

    def _see(self, layer: nn.Module, inputs: tuple[Tensor, ...], outputs: Any) -> None:
        if self._rows and not torch.is_grad_enabled():  # a validation step, and no adaptation by TENT after it
            features, logits = inputs[0].detach(), outputs.detach()
            is_last = isinstance(layer, nn.Linear)
            self._seen = (features.movedim(-1, 1), logits.movedim(-1, 1)) if is_last else (features, logits)

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
