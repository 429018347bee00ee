"""Adaptation of a trained net to the target by an adversary, in a second stage of the training."""

from collections.abc import Callable
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from torch import Tensor, nn
from torch.optim import Optimizer
from typing_extensions import override

from callbacks.adaptation._layers import NamedLayer, num_inputs
from callbacks.adaptation._loss import AdaptationLoss, progress_of
from callbacks.adaptation._pair import Pair, pooled
from callbacks.adaptation._teacher import Teacher
from callbacks.adaptation._terms import swap_loss_weight
from lightning_edge.checks import check_at_least, check_share
from lightning_edge.nn.adaptation.discriminators import DomainDiscriminator
from lightning_edge.nn.adaptation.frozen import frozen
from lightning_edge.ops.adaptation.adversarial import domain_cross_entropy, domain_loss


class ADDA(AdaptationLoss):
    """Trains on the source first, then makes features of the target like those of the source net (arXiv:1702.05464).

    In the first stage, the module trains as without the callback. The second stage starts with a copy of the module,
    the source net, which does not change any more. A discriminator tells features of the source in the source net from
    features of the target in the module, and the module deceives it. The module's own loss has no effect in this stage,
    and its last layer stays as it is. The stage depends only on the step, so a resumed run continues in the correct
    stage.

    In the second stage, only the discriminator holds the features, and Adam makes steps of the same length for any
    weight of the loss. With too large steps, classes collapse, which a high ``train/loss`` shows: choose a smaller
    ``lr_scale`` then.

    The paper trains the stages one after the other, each with its own optimizer. Here both belong to one training, so
    the optimizer keeps its momentum, and the schedule of the learning rate spans both. Batch norms of the source net
    normalize by the statistics of the batch, as those of the module do.

    ===============  =======================================================================  ====
    key              meaning                                                                  unit
    ===============  =======================================================================  ====
    ``train/adda``   cross-entropy of the discriminator and the weighted one of the module,   -
                     0 in the first stage
    ===============  =======================================================================  ====

    ``train/loss`` is logged in the second stage too.

    Args:
        weight: Factor of the module's part of the term. The discriminator learns at full rate.
        layer: See :class:`~callbacks.adaptation.AdaptationLoss`. Should be the last layer, because layers behind it do
            not adapt.
        source_stage_fraction: Share of the training that belongs to the first stage, in [0, 1].
        lr_scale: Factor of the learning rate in the second stage.
        hidden_size: Number of units of the discriminator's hidden layers.
        name: Name of the term.

    Raises:
        ValueError: An argument is out of range.
    """

    def __init__(
        self,
        weight: float = 1.0,
        layer: str | None = None,
        source_stage_fraction: float = 0.5,
        lr_scale: float = 0.05,
        hidden_size: int = 256,
        name: str = "adda",
    ) -> None:
        super().__init__(weight, layer, ramp=False, name=name)
        check_share(source_stage_fraction=source_stage_fraction)
        check_at_least(0, lr_scale=lr_scale)
        self.source_stage_fraction = source_stage_fraction
        self.lr_scale = lr_scale
        self.hidden_size = hidden_size
        self._loss_weight: float | None = None
        self._scaled_steps: list[_ScaledSteps] = []

    @override
    def make_nets(self, module: LightningModule, layer: NamedLayer) -> nn.Module:
        discriminator = DomainDiscriminator(num_inputs(layer), self.hidden_size)
        return nn.ModuleDict({"discriminator": discriminator, "source": Teacher(module)})

    @property
    @override
    def follows_progress(self) -> bool:
        return True

    @override
    def is_active(self, progress: float) -> bool:
        return progress >= self.source_stage_fraction

    @override
    def term(self, pair: Pair) -> Tensor:
        source, target = self._source_features(pair.batch), pooled(pair.target.features)
        discriminator = self.nets["discriminator"]
        return domain_loss(discriminator(source), discriminator(target.detach())) + super().term(pair)

    @override
    def loss(self, pair: Pair) -> Tensor:
        judge = frozen(self.nets["discriminator"])
        return domain_cross_entropy(judge(pooled(pair.target.features)), is_source=True)

    @override
    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_fit_start(trainer, pl_module)
        self._scaled_steps = [
            _ScaledSteps(optimizer, lambda: self.lr_scale if self.is_active(progress_of(trainer, pl_module)) else 1.0)
            for optimizer in trainer.optimizers
        ]

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.global_step == 0 or not self.is_active(progress_of(trainer, pl_module)):
            self.nets["source"].num_updates.zero_()  # a further fit has a source net of its own

    @override
    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        super().on_train_batch_start(trainer, pl_module, batch, batch_idx)
        if self._loss_weight is None and self.is_active(progress_of(trainer, pl_module)):
            self._loss_weight = swap_loss_weight(pl_module, 0.0)
            source: Teacher = self.nets["source"]
            if not source.num_updates:  # otherwise it is that of the checkpoint
                source.copy(pl_module)

    @override
    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        """Keep what does not learn in a stage: a parameter without a gradient has no weight decay either."""
        is_active = self.is_active(progress_of(trainer, pl_module))
        for parameter in (self.classifier if is_active else self.nets).parameters():
            parameter.grad = None

    @override
    def _remove(self, module: LightningModule) -> None:
        if self._loss_weight is not None:
            swap_loss_weight(module, self._loss_weight)
            self._loss_weight = None
        for steps in self._scaled_steps:
            steps.close()
        self._scaled_steps = []
        super()._remove(module)

    def _source_features(self, batch: Any) -> Tensor:
        """Features of the source in the source net."""
        assert self._layer is not None
        name, domains = self._layer.name, self.domains
        source: Teacher = self.nets["source"]
        outputs = source.call(domains.module, lambda net: domains.layer_outputs(name, batch, net))
        return pooled(outputs.features)


class _ScaledSteps:
    """Multiplies the learning rate of each step by a factor, during the step only, so that schedules see their own."""

    def __init__(self, optimizer: Optimizer, factor: Callable[[], float]) -> None:
        self._optimizer = optimizer
        self._factor = factor
        self._rates: list[Any] = []
        """Learning rates to restore, during a step."""
        self._handles = [
            optimizer.register_step_pre_hook(lambda *_: self._scale()),
            optimizer.register_step_post_hook(lambda *_: self._restore()),
        ]

    def close(self) -> None:
        """Restore the learning rates of a step that an error has ended, and scale no more."""
        self._restore()
        for handle in self._handles:
            handle.remove()

    def _scale(self) -> None:
        self._rates = [group["lr"] for group in self._optimizer.param_groups]
        for group in self._optimizer.param_groups:
            group["lr"] = group["lr"] * self._factor()

    def _restore(self) -> None:
        for group, rate in zip(self._optimizer.param_groups, self._rates, strict=False):
            group["lr"] = rate
        self._rates = []
