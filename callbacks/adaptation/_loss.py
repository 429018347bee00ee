"""Base of the callbacks that adapt a module to unlabeled target data by a term of its loss."""

import weakref
from abc import ABC, abstractmethod
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor, nn
from typing_extensions import override

from callbacks.adaptation._layers import NamedLayer, find_layer
from callbacks.adaptation._owned_nets import OwnedNets, join_optimizer
from callbacks.adaptation._pair import Pair
from callbacks.adaptation._terms import add_term, remove_term
from callbacks.adaptation._two_domains import TwoDomains, target_data
from lightning_edge.checks import check_at_least
from lightning_edge.contracts import TakesLossTerms
from lightning_edge.ops.adaptation.gradient_reversal import adaptation_factor


class AdaptationLoss(Callback, ABC):
    """Adds a term of source and target to the loss of any module with automatic optimization.

    The data module keeps a target batch beside each source batch, as
    :class:`~lightning_edge.data.domain_adaptation.AdaptationDataModule` does. The module processes the source batch as
    usual. The target batch passes through its ``forward`` once a step, however many of these callbacks there are, and
    the term compares what a layer receives and returns in both.

    The term is part of the loss before any scaling. So its gradients are right under gradient accumulation, mixed
    precision, several processes and ``torch.compile``. Modules with ``loss_terms``, which all methods of this library
    have, take the term there; the ``training_step`` of other modules is wrapped during the fit.

    Args:
        weight: Factor of the term.
        layer: Name of the layer whose input are the features, such as ``net.fc``. ``None`` means the last linear layer
            or convolution whose outputs are the classes.
        ramp: Whether the weight rises from 0 to its full value in the course of training, by
            :func:`~lightning_edge.ops.adaptation.gradient_reversal.adaptation_factor`.
        name: Name of the term. Its weighted value is logged as ``train/<name>``.

    Raises:
        ValueError: ``weight`` is negative, or ``name`` is empty or has a dot. Later: the module has no such layer,
            there is no target data, another callback has the same name, or the input of the layer that is named
            depends on no trained parameter.
    """

    def __init__(self, weight: float, layer: str | None, ramp: bool, name: str) -> None:
        check_at_least(0, weight=weight)
        if not name or "." in name:  # it is also that of a part of the module
            raise ValueError(f"expected name as one or more characters without a dot, got {name!r}")
        self.weight = weight
        self.layer = layer
        self.ramp = ramp
        self.name = name
        self._layer: NamedLayer | None = None
        self._domains: TwoDomains | None = None
        self._leads = False
        self._has_term = False
        self._owned: OwnedNets | None = None
        self._module_of_nets: weakref.ref[LightningModule] | None = None

    @abstractmethod
    def loss(self, pair: Pair) -> Tensor:
        """Scalar term without its weight."""

    def term(self, pair: Pair) -> Tensor:
        """Scalar term with its weight."""
        return self.strength(pair.progress) * self.loss(pair)

    def strength(self, progress: float) -> float:
        """The weight at a share of the training, which rises if ``ramp`` is set."""
        return self.weight * (adaptation_factor(progress) if self.ramp else 1.0)

    @property
    def follows_progress(self) -> bool:
        """Whether the term depends on the completed share of the training."""
        return self.ramp

    def is_active(self, progress: float) -> bool:
        """Whether there is a term at a share of the training. Without one, the target batch passes through nothing."""
        del progress
        return True

    def change_target(self, batch: dict[str, Any], source_batch: Any) -> dict[str, Any]:
        """Change the target batch before it passes through the module, for all callbacks. Nothing by default."""
        del source_batch
        return batch

    def choose_layer(self, module: LightningModule, num_classes: int | None) -> NamedLayer:
        """The layer whose input are the features: that of the argument ``layer``."""
        return find_layer(module, self.layer, num_classes)

    def make_nets(self, module: LightningModule, layer: NamedLayer) -> nn.Module | None:
        """Nets that train with the module, such as a discriminator; ``None`` if there are none.

        Args:
            module: The module.
            layer: The layer whose input are the features.
        """
        del module, layer
        return None

    @property
    def nets(self) -> Any:
        """The nets of :meth:`make_nets`, which exist from the first fit of a module until that of another one."""
        assert self._owned is not None
        return self._owned.nets

    @property
    def domains(self) -> TwoDomains:
        """Source and target of the current step; only during a fit."""
        assert self._domains is not None
        return self._domains

    @property
    def classifier(self) -> nn.Module:
        """The layer of the module whose input are the features."""
        assert self._layer is not None
        return self._layer.module

    @property
    def state_key(self) -> str:
        """Key of the callback's state in checkpoints."""
        return self._generate_state_key(name=self.name)

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage != "fit":
            return
        data = target_data(trainer)
        num_classes = getattr(pl_module, "num_classes", getattr(data, "num_classes", None))
        layer = self.choose_layer(pl_module, num_classes)
        if self.follows_progress and trainer.max_epochs in (None, -1) and trainer.max_steps == -1:
            raise ValueError(
                f"expected a training with max_epochs or max_steps, because the strength of {type(self).__name__} "
                "depends on the share that is completed, got one without a limit"
            )
        add_term(pl_module, self.name, lambda batch: self._term(trainer, pl_module, batch))
        self._has_term = True
        leader = _losses(trainer)[0]
        self._leads = leader is self
        self._domains = TwoDomains(trainer, pl_module, _losses(trainer)) if self._leads else leader._domains
        assert self._domains is not None
        self._domains.watch(*layer)
        self._layer = layer
        if self._module_of_nets is None or self._module_of_nets() is not pl_module:
            nets = self.make_nets(pl_module, layer)
            self._owned = None if nets is None else OwnedNets(nets, self.name)
            self._module_of_nets = weakref.ref(pl_module)
        if self._owned is not None:
            self._owned.register(pl_module)
        rank_zero_info(f"{type(self).__name__} works on the layer {layer.name}.")

    @override
    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._owned is not None:
            join_optimizer(trainer, self._owned.nets.parameters())

    @override
    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if self._leads and self._domains is not None:
            self._domains.forget()

    @override
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self._leads and self._domains is not None:
            self._domains.forget()

    @override
    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage == "fit":
            self._remove(pl_module)

    @override
    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._remove(pl_module)

    @override
    def state_dict(self) -> dict[str, Any]:
        return {} if self._owned is None else {"nets": self._owned.nets.state_dict()}

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        if self._owned is not None and "nets" in state_dict:
            self._owned.nets.load_state_dict(state_dict["nets"])

    def __getstate__(self) -> dict[str, Any]:
        """The state for copies, which train a copy of the module."""
        return self.__dict__ | {"_module_of_nets": None}

    def _term(self, trainer: Trainer, module: LightningModule, batch: Any) -> Tensor:
        self.domains.begin_term(self.name)
        share = progress_of(trainer, module)
        return self._active_term(batch, share) if self.is_active(share) else self._no_term(module)

    def _active_term(self, batch: Any, share: float) -> Tensor:
        """The term with its weight, for which the target batch passes through the module."""
        assert self._layer is not None
        name, domains = self._layer.name, self.domains
        source, target = domains.source(name), domains.target(name, batch)
        term = self.term(Pair(source, target, domains.target_output, domains.target_input, batch, share))
        if self.layer is not None and torch.is_grad_enabled():
            self._check_gradient(term, source.features, target.features)
        return term

    def _check_gradient(self, term: Tensor, *features: Tensor) -> None:
        """Refuse a layer that was named by the user, if no gradient passes through its input to the module."""
        needs_features = self._owned is not None or not term.requires_grad
        if needs_features and not any(one.requires_grad for one in features):
            raise ValueError(
                f"expected layer behind parameters that are trained, because {type(self).__name__} adapts its input, "
                f"got {self.layer!r}, whose input depends on none"
            )

    def _no_term(self, module: LightningModule) -> Tensor:
        """A value of 0, which gives all owned parameters a gradient of 0, for which several processes wait."""
        parameters = [] if self._owned is None else self._owned.nets.parameters()
        return sum((parameter.flatten()[:0].sum() for parameter in parameters), torch.zeros((), device=module.device))

    def _remove(self, module: LightningModule) -> None:
        if self._has_term:
            remove_term(module, self.name)
        if self._owned is not None:
            self._owned.remove(module)
        if self._leads and self._domains is not None:
            self._domains.close()
        self._domains, self._layer, self._leads, self._has_term = None, None, False, False


def _losses(trainer: Trainer) -> list[AdaptationLoss]:
    return [callback for callback in trainer.callbacks if isinstance(callback, AdaptationLoss)]  # pyright: ignore[reportAttributeAccessIssue]


def progress_of(trainer: Trainer, module: LightningModule) -> float:
    """Completed share of training, in [0, 1]."""
    progress = getattr(module, "progress", None) if isinstance(module, TakesLossTerms) else None
    if isinstance(progress, float):
        return progress
    steps = trainer.estimated_stepping_batches
    return min(1.0, trainer.global_step / steps) if steps > 0 else 0.0
