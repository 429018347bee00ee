"""Batch-norm statistics that match the data of an evaluation."""

from functools import partial
from itertools import islice
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info
from typing_extensions import override

from callbacks._training.transfer import to_device
from lightning_edge.checks import check_at_least
from lightning_edge.contracts import LoadsTarget, input_key
from lightning_edge.nn.conditioning import in_domain
from lightning_edge.nn.encoders.norm_statistics import reestimate_norms


class NormReestimation(Callback):
    """Recomputes the statistics of all batch norms from training images before an evaluation (AdaBN).

    The weights do not change. With a data module that has only the images of one domain, this adapts the net to that
    domain without training, which is a baseline of domain adaptation (arXiv:1603.04779). Of an
    :class:`~lightning_edge.data.domain_adaptation.AdaptationDataModule`, it uses the images of the target. Several
    processes share the batches, and all get the same statistics over all batches. In ``fit`` nothing happens.

    Works with modules whose ``forward`` takes the first item of a batch. The module needs ``batch_type``, or the images
    must be the first item of its batches.

    Args:
        num_batches: Largest number of batches of training images, in all processes together.

    Raises:
        ValueError: ``num_batches`` is less than 1. Later: the module has no batch norm, or there is no data module.
    """

    def __init__(self, num_batches: int = 100) -> None:
        check_at_least(1, num_batches=num_batches)
        self.num_batches = num_batches

    @override
    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn == "validate":
            self._reestimate(trainer, pl_module)

    @override
    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._reestimate(trainer, pl_module)

    def _reestimate(self, trainer: Trainer, module: LightningModule) -> None:
        data: Any = getattr(trainer, "datamodule", None)
        if data is None:
            raise ValueError("expected a data module with training images for NormReestimation, got none")
        data.setup("fit")
        share = len(range(trainer.global_rank, self.num_batches, trainer.world_size))
        loader = data.target_dataloader() if isinstance(data, LoadsTarget) else data.train_dataloader()
        count = reestimate_norms(
            module,
            islice(loader, share),
            lambda batch: self._run(trainer, module, batch),
            partial(trainer.strategy.reduce, reduce_op="sum"),
        )
        rank_zero_info(f"Recomputed the batch-norm statistics from {count} batches of training images.")

    def _run(self, trainer: Trainer, module: LightningModule, batch: Any) -> None:
        batch = to_device(trainer, batch)
        batch_type = getattr(module, "batch_type", None)
        embedding = batch.get("domain_embedding") if isinstance(batch, dict) else None
        with in_domain(module, embedding):
            module(batch[input_key(batch_type)] if batch_type is not None else next(iter(batch)))
