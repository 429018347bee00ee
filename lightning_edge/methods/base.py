"""What all methods share: one loss that callbacks may add terms to, optimisation, and honest checkpoints."""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Any

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.core.mixins.hparams_mixin import _given_hyperparameters
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim import Optimizer

from lightning_edge.contracts import input_key

OptimizerCallable = Callable[[Iterable], Optimizer]
"""Makes an optimiser of parameters (or parameter groups), such as ``torch.optim.AdamW`` or a ``functools.partial``."""

Schedule = Callable[[float], float]
"""Maps the share of training that is done, in [0, 1], to a factor of the learning rate."""

CLASSES_KEY = "classes"
"""Where a checkpoint keeps names and colours of the classes."""


class PolynomialDecay:
    """Learning rate ``(1 - done) ** power`` after a linear warm-up, the usual schedule of segmentation nets.

    Args:
        power: 0 keeps the rate constant, 1 lowers it linearly.
        warmup: Share of training during which the rate grows from zero.
    """

    def __init__(self, power: float = 0.9, warmup: float = 0.02) -> None:
        self.power = power
        self.warmup = warmup

    def __call__(self, done: float) -> float:
        """Return the factor of the learning rate."""
        rise = min(1.0, done / self.warmup) if self.warmup > 0 else 1.0
        return rise * max(0.0, 1.0 - done) ** self.power


class Method(LightningModule, ABC):
    """A LightningModule that trains on one kind of batch.

    Subclasses name their ``batch_type``, and give ``loss`` and ``forward``; the rest may be overridden as in any
    LightningModule. Callbacks add terms to the loss by name::

        module.loss_terms["coral"] = lambda batch: weight * distance(batch)

    Every call of ``training_step`` sums them up and logs each as ``train/<name>``.

    Hyper-parameters are saved without modules and callables: a checkpoint that the command line wrote loads alone,
    one of a method built in Python loads with ``net=`` and whatever else is an object.

    Args:
        optimizer: Makes the optimiser of the parameters.
        schedule: Factor of the learning rate by the share of training done.
    """

    batch_type: type
    class_names: tuple[str, ...] | None = None
    """Names of the classes, once a data module or a checkpoint told them."""
    palette: tuple[tuple[int, int, int], ...] | None = None
    """Colours of the classes, RGB, once a data module or a checkpoint told them."""
    _plain_arguments: dict[str, Any]

    def __new__(cls, *args: Any, **kwargs: Any) -> "Method":
        """Keep those arguments of the outermost constructor that a checkpoint may hold: no modules, no callables."""
        method = super().__new__(cls)
        bound = inspect.signature(cls).bind_partial(*args, **kwargs)
        bound.apply_defaults()
        given = dict(bound.arguments)
        for name, parameter in bound.signature.parameters.items():
            if parameter.kind is parameter.VAR_KEYWORD:  # a subclass may hand on what it does not name
                given |= given.pop(name)
        plain = {name: value for name, value in given.items() if not (isinstance(value, nn.Module) or callable(value))}
        object.__setattr__(method, "_plain_arguments", plain)  # nn.Module's own needs its constructor to have run
        return method

    def __init__(self, optimizer: OptimizerCallable, schedule: Schedule) -> None:
        super().__init__()
        self.loss_terms: dict[str, Callable[[Any], Tensor]] = {}
        self._optimizer = optimizer
        self._schedule = schedule
        self._num_steps = 1
        # the command line gives Lightning a record of how modules and callables are made, which is saved as it is
        from_command_line = _given_hyperparameters.get() is not None
        self.save_hyperparameters(*() if from_command_line else (self._plain_arguments,))

    @abstractmethod
    def loss(self, batch: Any) -> Tensor:
        """Scalar loss of a batch of ``batch_type``."""

    @abstractmethod
    def forward(self, inputs: Tensor) -> Tensor:
        """Logits of a batch's input: the tensor under the first key of ``batch_type``."""

    def total_loss(self, batch: Any) -> Tensor:
        """Sum of ``loss`` and of all ``loss_terms``, each logged."""
        size = len(batch[input_key(self.batch_type)])
        total = self.loss(batch)
        self.log("train/loss", total, batch_size=size, prog_bar=True)
        for name, term in self.loss_terms.items():
            value = term(batch)
            self.log(f"train/{name}", value, batch_size=size)
            total = total + value
        return total

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Return the loss with all terms."""
        return self.total_loss(batch)

    def setup(self, stage: str) -> None:
        """Take over what the data module's classes are called; refuse one with another number of them."""
        data = getattr(self.trainer, "datamodule", None)
        ours, theirs = getattr(self, "num_classes", None), getattr(data, "num_classes", None)
        if ours is not None and theirs is not None and ours != theirs:
            raise ValueError(f"expected a net with the data module's num_classes ({theirs}), got {ours}")
        self.class_names = getattr(data, "class_names", self.class_names)
        self.palette = getattr(data, "palette", self.palette)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep names and colours of the classes with the weights, for prediction on data that have none."""
        checkpoint[CLASSES_KEY] = {"class_names": self.class_names, "palette": self.palette}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take names and colours of the classes from where the weights come from, unless the data told them."""
        for name, value in checkpoint.get(CLASSES_KEY, {}).items():
            if getattr(self, name) is None:
                setattr(self, name, value)

    @property
    def share_done(self) -> float:
        """Share of the optimiser's steps that are done, in [0, 1]; it goes on where a resumed run stopped."""
        return min(1.0, self.global_step / self._num_steps)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Trainable parameters; a group's ``lr_scale``, if it has one, is a factor of its learning rate."""
        return [{"params": [parameter for parameter in self.parameters() if parameter.requires_grad]}]

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """The optimiser, its learning rate scheduled over the steps that the trainer expects.

        Raises:
            ValueError: if the trainer has no end.
        """
        steps = self.trainer.estimated_stepping_batches
        if steps == float("inf"):
            raise ValueError("expected a trainer with max_epochs or max_steps, which the schedule follows, got neither")
        optimizer = self._optimizer(self.parameter_groups())
        for group in optimizer.param_groups:
            group["lr"] *= group.pop("lr_scale", 1.0)
        self._num_steps = max(1, int(steps))
        scheduler = torch.optim.lr_scheduler.LambdaLR(
            optimizer,
            lambda step: self._schedule(min(1.0, (step + 0.5) / self._num_steps)),  # the middle of each step's share
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}
