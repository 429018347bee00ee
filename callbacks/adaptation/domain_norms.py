"""Batch-norm statistics of source and target that are kept apart."""

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn
from typing_extensions import override

from lightning_edge.contracts import NamesEvaluations
from lightning_edge.torch_internals import BatchNorm

_KINDS = ("running_mean", "running_var", "num_batches_tracked")


class DomainNorms(Callback):
    """Keeps statistics of source and target apart in all batch norms of a module that is adapted.

    In training, batch norms normalize each batch by its own statistics, and source and target are separate batches.
    One running mean of both would fit neither in evaluation. With this callback each domain is evaluated with its own,
    as in AutoDIAL (arXiv:1704.08082) and domain-specific batch normalization (arXiv:1906.03950), but with common
    weights. After the fit, **the module has the statistics of the target**, and so have its checkpoints; those of the
    source are in the callback's state. Nets without batch norm are not changed. With several processes, all of them
    evaluate with the statistics of the first one, as torch does with a single set of statistics.

    The target's statistics come from the pass of a callback such as :class:`~callbacks.adaptation.adversarial.DANN`. As
    long as there was none, both domains are evaluated with the statistics of the source.
    """

    def __init__(self) -> None:
        self._kept: dict[str, Tensor] = {}
        """Statistics of the source, or of the target while the module has those of the source; without a pass of the
        target, those at the start."""
        self._is_source = False
        self._has_target = False
        """Whether the target has statistics of its own."""
        self._module: weakref.ref[nn.Module] | None = None

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if self._module is None or self._module() is not pl_module:  # the statistics are those of another module
            self._kept, self._is_source, self._has_target = {}, False, False
            self._module = weakref.ref(pl_module)

    @override
    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self._set_source(pl_module, True)

    @override
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._set_source(pl_module, False)

    @override
    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._share(trainer, pl_module)

    @override
    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self._set_source(pl_module, _is_source(trainer, dataloader_idx))

    @override
    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._set_source(pl_module, False)

    @override
    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._share(trainer, pl_module)

    @override
    def on_test_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self._set_source(pl_module, _is_source(trainer, dataloader_idx))

    @override
    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._set_source(pl_module, False)

    @override
    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._set_source(pl_module, False)

    def __getstate__(self) -> dict[str, Any]:
        """The state for copies, which serve a copy of the module."""
        return self.__dict__ | {"_module": None}

    @override
    def state_dict(self) -> dict[str, Any]:
        return {"kept": dict(self._kept), "has_target": self._has_target}

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._kept, self._has_target = dict(state_dict["kept"]), state_dict["has_target"]
        self._is_source = not self._has_target

    @contextmanager
    def of_target(self, module: nn.Module) -> Iterator[None]:
        """Use and update the statistics of the target within a ``with`` block."""
        self._has_target = True
        was_source = self._is_source
        self._set_source(module, False)
        try:
            yield
        finally:
            self._set_source(module, was_source)

    def _set_source(self, module: nn.Module, is_source: bool) -> None:
        """Exchange the statistics in the module with those kept here, unless they are the wanted ones."""
        is_source = is_source or not self._has_target  # what is kept until then are the statistics at the start
        if is_source == self._is_source:
            return
        self._is_source = is_source
        statistics = _statistics(module)
        with torch.inference_mode(False):  # a training may follow, which changes the new tensors
            for name, values in statistics.items():
                norm, _, kind = name.rpartition(".")
                # both domains start with what the module has here, after all callbacks have loaded weights
                kept = self._kept[name] if name in self._kept else values.clone()
                # another tensor, because the backward pass refuses tensors that changed since the forward pass
                setattr(module.get_submodule(norm), kind, kept.to(values.device))
        self._kept = statistics

    def _share(self, trainer: Trainer, module: nn.Module) -> None:
        """Give the statistics of the first process to all, which torch does for those that begin a step only."""
        if trainer.world_size > 1:
            values = [*_statistics(module).values(), *self._kept.values()]
            first = trainer.strategy.broadcast([value.cpu() for value in values])
            for value, new in zip(values, first, strict=True):
                value.copy_(new)


def _statistics(module: nn.Module) -> dict[str, Tensor]:
    norms = [(name, norm) for name, norm in module.named_modules() if isinstance(norm, BatchNorm)]
    buffers = ((f"{name}.{kind}", getattr(norm, kind, None)) for name, norm in norms for kind in _KINDS)
    return {name: buffer for name, buffer in buffers if buffer is not None}


def _is_source(trainer: Trainer, dataloader_idx: int) -> bool:
    data = getattr(trainer, "datamodule", None)
    return isinstance(data, NamesEvaluations) and data.evaluation_names[dataloader_idx] == ""
