"""Base of the callbacks that use features and logits of source and target from each validation."""

from abc import ABC, abstractmethod
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn
from typing_extensions import override

from callbacks.adaptation._candidates import candidates_of
from callbacks.adaptation._layers import find_layer
from callbacks.adaptation._rows import Rows, joined, rows_of
from lightning_edge.contracts import DetectionBatch, NamesEvaluations
from lightning_edge.metrics.adaptation.sampled_rows import sampled_rows
from lightning_edge.torch_internals import is_compiled

LEAST_ROWS = 5
_SOURCE, _TARGET = "", "target"


class EvaluationRows(Callback, ABC):
    """Collects the input and the output of a layer for rows of the validation data of both domains.

    Rows are samples of classification, pixels of segmentation, or candidates of detection.

    Args:
        layer: Name of the layer whose input are the features and whose outputs are the logits. ``None`` means the last
            linear layer or convolution whose outputs are the classes.
        max_rows: Largest number of rows of each domain.
    """

    def __init__(self, layer: str | None, max_rows: int) -> None:
        self.layer = layer
        self._max_rows = max_rows
        self._handle: Any = None
        self._num_classes: int | None = None
        self._seen: tuple[Tensor, Tensor] | None = None
        """Input and output of the layer in its last run in a validation step."""
        self._num_runs = 0
        self._rows: dict[str, list[Rows]] = {}
        """Rows of each domain during a validation."""

    @abstractmethod
    def use_rows(self, trainer: Trainer, module: LightningModule, source: Rows | None, target: Rows | None) -> None:
        """Use the rows of a validation; ``None`` if there are none. The sanity check is left out."""

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage not in ("fit", "validate"):
            return
        data = getattr(trainer, "datamodule", None)
        names = data.evaluation_names if isinstance(data, NamesEvaluations) else ()
        if not {_SOURCE, _TARGET} <= {*names}:
            raise ValueError(
                f"expected a data module that evaluates source and target for {type(self).__name__}, such as "
                f"AdaptationDataModule(source, target), got {'none' if data is None else type(data).__name__}"
                + (", which evaluates one of them" if names else "")
            )
        self._num_classes = getattr(pl_module, "num_classes", getattr(data, "num_classes", None))
        self._handle = find_layer(pl_module, self.layer, self._num_classes).module.register_forward_hook(self._see)
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
        self._forget()  # what an error has left

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
        seen, num_runs = self._seen, self._num_runs
        self._forget()
        if name not in self._rows:
            return
        if seen is None:
            raise ValueError(
                f"expected layer as a part of {type(pl_module).__name__} that runs in validation_step, got one that "
                "did not run"
            )
        source_batch = batch if name == _SOURCE else None
        if is_detection(trainer):
            if num_runs > 1:
                raise ValueError(
                    f"expected layer as one that runs once in validation_step, for detection, got {num_runs} runs, as "
                    "of a detector with maps of several sizes"
                )
            rows = candidates_of(*seen, source_batch, batch["image"].shape[-2], int(self._num_classes or 0))
        else:
            rows = rows_of(*seen, source_batch)
        num_batches = trainer.num_val_batches[dataloader_idx]
        index = sampled_rows(len(rows.logits), batch_idx, int(num_batches), self._max_rows).to(rows.logits.device)
        self._rows[name].append(Rows(*(values[index].float().cpu() for values in rows)))

    @override
    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        source, target = (joined(self._rows[name]) for name in (_SOURCE, _TARGET))
        self._rows = {}
        if not trainer.sanity_checking:
            self.use_rows(trainer, pl_module, source, target)

    def _see(self, layer: nn.Module, inputs: tuple[Tensor, ...], outputs: Any) -> None:
        if self._rows and not torch.is_grad_enabled():  # a validation step, and no adaptation by TENT after it
            features, logits = inputs[0].detach(), outputs.detach()
            is_last = isinstance(layer, nn.Linear)
            self._seen = (features.movedim(-1, 1), logits.movedim(-1, 1)) if is_last else (features, logits)
            self._num_runs += 1

    def _forget(self) -> None:
        self._seen, self._num_runs = None, 0


def is_detection(trainer: Trainer) -> bool:
    """Whether the data module has boxes around objects, so that the background is one more class."""
    return getattr(getattr(trainer, "datamodule", None), "batch_type", None) is DetectionBatch
