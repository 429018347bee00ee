"""Batches of the same samples in every run, on which losses of different runs can be compared."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import torch
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.utilities.model_helpers import is_overridden
from lightning.pytorch.utilities.seed import isolate_rng
from torch import nn
from torch.utils.data import default_collate

from callbacks._batch_size import batch_size_of
from lightning_edge.contracts import GivesFixedSamples
from lightning_edge.ops.sampling import evenly_spaced

_BATCH_SIZE = 100
"""Of the evaluation at most, whatever that of the training: batch norm takes its statistics of so many."""


def fixed_batches(trainer: Trainer, split: str, num_samples: int) -> list[Any] | None:
    """Collated batches of evenly spaced samples of ``train`` or ``val``.

    The data module chooses them where it can (``fixed_samples``); of others each sample is read once, with whatever
    augmentation the dataset has, and kept.

    Returns:
        ``None`` where there is no such split.
    """
    data: Any = getattr(trainer, "datamodule", None)
    loader = trainer.train_dataloader if split == "train" else _val_loader(trainer)
    if loader is None:
        return None
    collate: Callable[[list[Any]], Any] = getattr(loader, "collate_fn", None) or default_collate
    with isolate_rng():
        if isinstance(data, GivesFixedSamples):
            samples = data.fixed_samples(split, num_samples)
        else:
            samples = _evenly_spaced(loader, num_samples)
    num_batches = -(-len(samples) // _BATCH_SIZE)
    bounds = [number * len(samples) // num_batches for number in range(num_batches + 1)]
    return [collate(samples[start:stop]) for start, stop in pairwise(bounds)]


def mean_loss(trainer: Trainer, module: LightningModule, batches: list[Any], batch_statistics: bool) -> float:
    """Mean of the module's ``loss`` over batches, alike in all processes, each of which computes it.

    Args:
        trainer: Of the running fit.
        module: Whose loss; it stays as it was.
        batches: What :func:`fixed_batches` gave.
        batch_statistics: Whether batch norm, where it trains, takes the statistics of the batches in place of its
            running ones, which lag behind and scatter. All else is in evaluation mode.
    """
    sum_of_losses, num_samples = 0.0, 0
    precision = trainer.precision_plugin
    with isolate_rng(), _evaluating(module, batch_statistics), torch.no_grad(), precision.forward_context():
        for batch in batches:
            on_device = trainer.strategy.batch_to_device(precision.convert_input(batch))
            size = batch_size_of(on_device)
            sum_of_losses += float(module.loss(on_device)) * size  # pyright: ignore
            num_samples += size
    mean = torch.tensor(sum_of_losses / num_samples, device=module.device)
    return float(trainer.strategy.reduce(mean, reduce_op="mean"))


@contextmanager
def _evaluating(module: LightningModule, batch_statistics: bool) -> Iterator[None]:
    """Evaluation mode, all buffers and modes put back at the end."""
    was_training = {part: part.training for part in module.modules()}
    buffers = [(buffer, buffer.clone()) for buffer in module.buffers()]
    module.eval()
    for part, trains in was_training.items():
        if batch_statistics and trains and isinstance(part, nn.modules.batchnorm._NormBase):
            part.train()
    try:
        yield
    finally:
        for part, trains in was_training.items():
            part.training = trains
        with torch.no_grad():
            for buffer, before in buffers:
                buffer.copy_(before)


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
        raise ValueError(
            "expected one loader whose dataset has samples by index, or a data module with fixed_samples, got "
            f"{type(loader).__name__} of {type(dataset).__name__}"
        )
    return [dataset[index] for index in evenly_spaced(len(dataset), num_samples)]
