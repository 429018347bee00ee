"""What all methods share: one loss that callbacks may add terms to, optimisation, and honest checkpoints."""

import inspect
from abc import ABC, abstractmethod
from collections import UserDict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.core.mixins.hparams_mixin import _given_hyperparameters
from lightning.pytorch.utilities.parsing import save_hyperparameters
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.optim import Optimizer

from lightning_edge.contracts import input_key, serves_as
from lightning_edge.methods.batch_kind import check_kind
from lightning_edge.methods.schedules import PolynomialDecay, Schedule, check_rate

OptimizerCallable = Callable[[Iterable], Optimizer]
"""Makes an optimiser of parameters (or parameter groups), such as ``torch.optim.AdamW`` or a ``functools.partial``."""

CLASSES_KEY = "classes"
"""Where a checkpoint keeps names and colours of the classes."""


class LossTerms(UserDict[str, Callable[[Any], Tensor]]):
    """Terms of a loss by the name that each is logged under; ``loss`` is taken by the method's own."""

    def __setitem__(self, name: str, term: Callable[[Any], Tensor]) -> None:
        if name == "loss":
            raise ValueError("expected a name other than that of the method's own loss for a loss term, got 'loss'")
        super().__setitem__(name, term)


class Method(LightningModule, ABC):
    """A LightningModule that trains on one kind of batch.

    Subclasses name their ``batch_type``, and give ``loss`` and ``forward``; the rest may be overridden as in any
    LightningModule. Callbacks add terms to the loss by name::

        module.loss_terms["coral"] = lambda batch: weight * distance(batch)

    Every call of ``training_step`` sums them up and logs each as ``train/<name>``, which must not be the name of
    anything else that is logged.

    Evaluation is of one loader a call: Lightning refuses several where ``validation_step`` has no ``dataloader_idx``.

    Hyper-parameters are saved where they are plain values (``None``, ``bool``, ``int``, ``float``, ``str``; lists,
    tuples and dicts of them): a checkpoint that the command line wrote loads alone, one of a method built in Python
    loads with ``net=`` and whatever else is none. What a subclass takes as ``*args`` has no name to be saved under.

    Args:
        optimizer: Makes the optimiser of the parameters.
        schedule: Factor of the learning rate by the share of training done; ``PolynomialDecay()`` if ``None``.
    """

    batch_type: type
    class_names: tuple[str, ...] | None = None
    """Names of the classes, once a data module or a checkpoint told them."""
    palette: tuple[tuple[int, int, int], ...] | None = None
    """Colours of the classes, RGB, once a data module or a checkpoint told them."""
    domain_names: tuple[str, ...] = ()
    """Names of the domains by their number in batches, where the data know domains that recur."""
    _plain_arguments: dict[str, Any]

    def __new__(cls, *args: Any, **kwargs: Any) -> "Method":
        """Keep those arguments of the outermost constructor that a checkpoint may hold."""
        method = super().__new__(cls)
        bound = inspect.signature(cls).bind_partial(*args, **kwargs)
        bound.apply_defaults()
        given = dict(bound.arguments)
        for name, parameter in bound.signature.parameters.items():
            if parameter.kind is parameter.VAR_KEYWORD:  # a subclass may hand on what it does not name
                given |= given.pop(name)
            elif parameter.kind is parameter.VAR_POSITIONAL:
                del given[name]
        # nn.Module's own needs its constructor to have run
        object.__setattr__(method, "_plain_arguments", plain_values(given))
        return method

    def __init__(self, optimizer: OptimizerCallable, schedule: Schedule | None = None) -> None:
        super().__init__()
        self.loss_terms = LossTerms()
        self._optimizer = optimizer
        self._schedule = PolynomialDecay() if schedule is None else schedule
        self._num_steps: float = 1
        # the command line gives Lightning a record of how modules and callables are made, which is saved as it is;
        # the method save_hyperparameters would compare our arguments with each of the constructor's, arrays too
        recorded = _given_hyperparameters.get()
        save_hyperparameters(self, given_hparams=self._plain_arguments if recorded is None else recorded)
        self._log_hyperparams = True

    @abstractmethod
    def loss(self, batch: Any) -> Tensor:
        """Scalar loss of a batch of ``batch_type``."""

    @abstractmethod
    def forward(self, inputs: Tensor) -> Any:
        """What the net predicts, logits where there are classes, of the tensor under ``batch_type``'s first key."""

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

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Refuse batches of another kind, such as pairs."""
        check_kind(batch, self.batch_type)

    def on_validation_batch_start(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Refuse batches of another kind, such as pairs."""
        check_kind(batch, self.batch_type)

    def on_test_batch_start(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Refuse batches of another kind, such as pairs."""
        check_kind(batch, self.batch_type)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Return the loss with all terms."""
        return self.total_loss(batch)

    def setup(self, stage: str) -> None:
        """Take over what the data's classes are called; refuse data of other batches or another number of classes."""
        data = getattr(self.trainer, "datamodule", None)
        given = getattr(data, "batch_type", None)
        if stage != "predict" and given is not None and not serves_as(given, self.batch_type):
            raise ValueError(
                f"expected data of {self.batch_type.__name__} for {type(self).__name__}, got {type(data).__name__}, "
                f"which gives {given.__name__}"
            )
        ours, theirs = getattr(self, "num_classes", None), getattr(data, "num_classes", None)
        if ours is not None and theirs is not None and ours != theirs:
            raise ValueError(f"expected a net with the data module's num_classes ({theirs}), got {ours}")
        self.domain_names = getattr(data, "domain_names", None) or ()
        names, palette = getattr(data, "class_names", None), getattr(data, "palette", None)
        if names is not None or palette is not None:  # together: names with the colours of other data mislead
            self.class_names, self.palette = names, palette

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep plain hyper-parameters, and names and colours of the classes for prediction on data that have none."""
        if "_instantiator" not in self.hparams:  # which stands in the command line's record alone
            checkpoint[self.CHECKPOINT_HYPER_PARAMS_KEY] = plain_values(self.hparams)
        checkpoint[CLASSES_KEY] = {"class_names": self.class_names, "palette": self.palette}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take names and colours of the classes from where the weights come from, unless the data told them."""
        if CLASSES_KEY in checkpoint and self.class_names is None and self.palette is None:
            self.class_names, self.palette = (checkpoint[CLASSES_KEY][name] for name in ("class_names", "palette"))

    def on_fit_start(self) -> None:
        """See when the training ends: here, because a subclass may have a ``configure_optimizers`` of its own."""
        self._num_steps = max(1, self.trainer.estimated_stepping_batches)

    @property
    def share_done(self) -> float:
        """Share of the training that is done, in [0, 1]; it goes on where a resumed run stopped."""
        if self.automatic_optimization or self._trainer is None:
            return min(1.0, self.global_step / self._num_steps)
        # global_step and max_steps count the steps of all optimisers, but the trainer expects a number of batches
        batches, max_steps = self.trainer.fit_loop.epoch_loop.batch_progress.total.completed, self.trainer.max_steps
        return min(1.0, max(batches / self._num_steps, self.global_step / max_steps if max_steps > 0 else 0.0))

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Trainable parameters; a group's ``lr_scale``, if it has one, is a factor of its learning rate."""
        return [{"params": [parameter for parameter in self.parameters() if parameter.requires_grad]}]

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """The optimiser, its learning rate scheduled over the steps that the trainer expects.

        Raises:
            ValueError: if the trainer has no end.
        """
        steps = self.trainer.estimated_stepping_batches
        if not 0 <= steps < float("inf"):  # negative for data without a length
            raise ValueError(
                "expected a trainer with max_steps, or with max_epochs over data of a known length, for the schedule "
                "to follow, got neither"
            )
        optimizer = self._optimizer(self.parameter_groups())
        for group in optimizer.param_groups:
            group["lr"] *= group.pop("lr_scale", 1.0)
            check_rate("the optimizer's lr", group["lr"])
        scheduler = torch.optim.lr_scheduler.LambdaLR(
            optimizer,
            lambda step: self._schedule(min(1.0, (step + 0.5) / max(1, steps))),  # the middle of each step's share
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


def plain_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the values that every reader of checkpoints knows, by name."""
    return {name: value for name, value in values.items() if is_plain(value)}


def is_plain(value: Any) -> bool:
    """Whether ``value`` is None, a number, a string, or a list, tuple or dict of such, and of no subclass of them."""
    if type(value) is dict:
        return all(is_plain(item) for pair in value.items() for item in pair)
    if type(value) in (list, tuple):
        return all(is_plain(item) for item in value)
    return value is None or type(value) in (bool, int, float, str)
