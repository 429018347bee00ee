"""Batches of the same samples in every run, so that the losses of different runs can be compared."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import torch
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.trainer.states import RunningStage
from lightning.pytorch.utilities.model_helpers import is_overridden
from lightning.pytorch.utilities.seed import isolate_rng
from torch.utils.data import default_collate

from callbacks._training.batch import batch_size_of
from callbacks._training.buffers import kept_buffers
from callbacks._training.transfer import to_device
from lightning_edge.contracts import GivesFixedSamples
from lightning_edge.module_modes import restored_modes
from lightning_edge.ops.sampling import evenly_spaced
from lightning_edge.torch_internals import NormWithStatistics


def fixed_batches(trainer: Trainer, split: str, num_samples: int, batch_size: int) -> list[Any]:
    """Collated batches of evenly spaced samples of ``train`` or ``val``, of nearly equal sizes.

    A data module with ``fixed_samples`` chooses the samples. Otherwise each sample is read once from the dataset, with
    the augmentation of the dataset, and kept.

    Returns:
        The batches; an empty list if there is no such split, or if its dataset has no samples by index.
    """
    data: Any = getattr(trainer, "datamodule", None)
    loader = trainer.train_dataloader if split == "train" else _val_loader(trainer)
    if loader is None:
        return []
    collate: Callable[[list[Any]], Any] = getattr(loader, "collate_fn", None) or default_collate
    with isolate_rng():
        if isinstance(data, GivesFixedSamples):
            samples = data.fixed_samples(split, num_samples)
        else:
            samples = _evenly_spaced(loader, num_samples)
    num_batches = max(1, -(-len(samples) // batch_size))
    bounds = [number * len(samples) // num_batches for number in range(num_batches + 1)] if samples else []
    return [collate(samples[start:stop]) for start, stop in pairwise(bounds)]


def mean_loss(trainer: Trainer, module: LightningModule, batches: list[Any], batch_statistics: bool) -> float:
    """Mean of the module's ``loss`` over batches. Each process computes it, and all get the same value.

    Args:
        trainer: Trainer of the running fit.
        module: Module with the loss. Its state does not change.
        batches: Batches of :func:`fixed_batches`.
        batch_statistics: Whether batch norms in training mode use the statistics of the batches instead of their
            running statistics, which are delayed and noisy. All other modules are in evaluation mode.
    """
    sum_of_losses, num_samples = 0.0, 0
    with (
        isolate_rng(),
        _validating(trainer),
        _evaluating(module, batch_statistics),
        kept_buffers(module),
        torch.no_grad(),
        trainer.precision_plugin.forward_context(),
    ):
        for batch in batches:
            on_device = to_device(trainer, batch)
            size = batch_size_of(on_device)
            sum_of_losses += float(module.loss(on_device)) * size  # pyright: ignore
            num_samples += size
    mean = torch.tensor(sum_of_losses / num_samples, device=module.device)
    return float(trainer.strategy.reduce(mean, reduce_op="mean"))


@contextmanager
def _evaluating(module: LightningModule, batch_statistics: bool) -> Iterator[None]:
    """Set evaluation mode, and restore the mode of each module at the end."""
    training_norms = [part for part in module.modules() if part.training and isinstance(part, NormWithStatistics)]
    with restored_modes(module):
        module.eval()
        for norm in training_norms if batch_statistics else ():
            norm.train()
        yield


@contextmanager
def _validating(trainer: Trainer) -> Iterator[None]:
    """Set the stage to validation, so that hooks do not augment."""
    stage = trainer.state.stage
    trainer.state.stage = RunningStage.VALIDATING
    try:
        yield
    finally:
        trainer.state.stage = stage


def _val_loader(trainer: Trainer) -> Any:
    data: Any = getattr(trainer, "datamodule", None)
    if data is None:
        loader = trainer.val_dataloaders
    else:
        loader = data.val_dataloader() if is_overridden("val_dataloader", data, LightningDataModule) else None
    return loader[0] if isinstance(loader, list | tuple) and loader else loader


def _evenly_spaced(loader: Any, num_samples: int) -> list[Any]:
    dataset: Any = getattr(loader, "dataset", None)
    if not (hasattr(dataset, "__getitem__") and hasattr(dataset, "__len__")):
        return []
    return [dataset[index] for index in evenly_spaced(len(dataset), num_samples)]
