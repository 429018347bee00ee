"""What all methods share: one loss that callbacks may add terms to, optimization, and honest checkpoints."""

import inspect
from abc import ABC, abstractmethod
from collections import UserDict
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from lightning.pytorch import LightningModule
from lightning.pytorch.callbacks import GradientAccumulationScheduler
from lightning.pytorch.core.mixins.hparams_mixin import _given_hyperparameters
from lightning.pytorch.utilities import rank_zero_warn
from lightning.pytorch.utilities.parsing import save_hyperparameters
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from lightning_edge.checkpoints import LIGHTNING, local_file, read_checkpoint
from lightning_edge.contracts import input_key, serves_as
from lightning_edge.methods.batch_kind import check_kind
from lightning_edge.methods.schedules import PolynomialDecay, Schedule, check_rate, update_learning_rates
from lightning_edge.model_description import check_description

OptimizerCallable = Callable[[Iterable], Optimizer]
"""Makes an optimizer of parameters (or parameter groups), such as ``torch.optim.AdamW`` or a ``functools.partial``."""

CLASSES_KEY = "classes"
"""Where a checkpoint keeps names and colors of the classes."""
GRADIENTS_KEY = "accumulated_gradients"
"""Where a checkpoint that is written between two steps keeps the gradients of the batches since the last step."""


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
        optimizer: Makes the optimizer of the parameters.
        schedule: Factor of the learning rate by the share of training done; ``PolynomialDecay()`` if ``None``.
    """

    batch_type: type
    class_names: tuple[str, ...] | None = None
    """Names of the classes, once a data module or a checkpoint told them."""
    palette: tuple[tuple[int, int, int], ...] | None = None
    """Colors of the classes, RGB, once a data module or a checkpoint told them."""
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
        self._scheduler: LambdaLR | None = None
        self._accumulated_gradients: dict[str, Tensor] = {}
        # the command line gives Lightning a record of how modules and callables are made, which is saved as it is;
        # the method save_hyperparameters would compare our arguments with each of the constructor's, arrays too
        recorded = _given_hyperparameters.get()
        save_hyperparameters(self, given_hparams=self._plain_arguments if recorded is None else recorded)
        self._log_hyperparams = True

    @classmethod
    def load_from_checkpoint(
        cls, checkpoint_path: Any, *args: Any, trusted_modules: Collection[str] = (), **kwargs: Any
    ) -> Any:
        """As Lightning's own, of a file that was checked before: its checksums, and the classes that it names.

        Args:
            checkpoint_path: Path, address, or open binary file.
            args: As Lightning's own takes them.
            trusted_modules: Modules, such as ``["my_nets"]``, whose classes the checkpoint may name beside those of
                this library, timm and torch.
            kwargs: As Lightning's own takes them; arguments of the constructor replace those of the checkpoint.
                ``weights_only=False`` trusts the file in everything, also to run code.

        Raises:
            FileNotFoundError: There is no such file.
            ValueError: It is no whole checkpoint, has weights that are NaN, names a class of another module, or
                describes a net that fetches weights.
        """
        if kwargs.get("weights_only") is False:
            return super().load_from_checkpoint(checkpoint_path, *args, **kwargs)
        with local_file(checkpoint_path) as path:
            content = read_checkpoint(path, "checkpoint_path", LIGHTNING)
            described = dict(content.get(cls.CHECKPOINT_HYPER_PARAMS_KEY) or {})
            used = {name: value for name, value in described.items() if name not in kwargs and name != "_instantiator"}
            check_description(used, str(checkpoint_path), {cls.__module__, *trusted_modules})
            return super().load_from_checkpoint(path, *args, **kwargs)

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
        """Return the loss with all terms, and log the learning rate of the first parameter group as ``train/lr``."""
        optimizer = self.trainer.optimizers[0]
        self.log("train/lr", optimizer.param_groups[0]["lr"], batch_size=1)
        return self.total_loss(batch)

    def setup(self, stage: str) -> None:
        """Take over what the data's classes are called; refuse data of other batches or another number of classes.

        Raises:
            ValueError: if the data do not fit, or ``GradientAccumulationScheduler`` would change the number of steps.
        """
        self._refuse_changing_accumulation(stage)
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
        if names is not None or palette is not None:  # together: names with the colors of other data mislead
            self.class_names, self.palette = names, palette

    def _refuse_changing_accumulation(self, stage: str) -> None:
        schedulers = [c for c in self.trainer.callbacks if isinstance(c, GradientAccumulationScheduler)]  # pyright: ignore[reportAttributeAccessIssue]
        if stage == "fit" and schedulers:
            # the schedule and the sampler need to know the steps of an epoch before the first, and Lightning forgets
            # the factor of the epoch when it resumes within one
            raise ValueError(
                "expected one accumulation factor for the whole training, got a GradientAccumulationScheduler "
                f"({schedulers[0].scheduling}): use Trainer(accumulate_grad_batches=...) in its place"
            )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what prediction and a resumed run need beside the weights.

        These are plain hyper-parameters, names and colors of the classes, and the gradients that have been
        accumulated since the last step.
        """
        if "_instantiator" not in self.hparams:  # which stands in the command line's record alone
            checkpoint[self.CHECKPOINT_HYPER_PARAMS_KEY] = plain_values(self.hparams)
        checkpoint[CLASSES_KEY] = {"class_names": self.class_names, "palette": self.palette}
        if self._is_epoch_cut:  # Lightning takes it for a whole one, and would not show the rest of its data
            for progress in checkpoint["loops"]["fit_loop"]["epoch_progress"].values():
                progress["processed"] = progress["completed"] = progress["started"] - 1
        if self._is_between_steps:
            if self.trainer.world_size > 1:  # each process has gradients of its own, and one of them writes
                rank_zero_warn(
                    "This checkpoint is written between two optimizer steps by several processes. It does not keep "
                    "the gradients accumulated so far; a run that resumes from it makes one smaller step."
                )
            else:
                checkpoint[GRADIENTS_KEY] = {
                    name: parameter.grad for name, parameter in self.named_parameters() if parameter.grad is not None
                }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take what ``on_save_checkpoint`` kept; names and colors of the classes only if the data gave none."""
        self._accumulated_gradients = checkpoint.get(GRADIENTS_KEY, {})
        if CLASSES_KEY in checkpoint and self.class_names is None and self.palette is None:
            self.class_names, self.palette = (checkpoint[CLASSES_KEY][name] for name in ("class_names", "palette"))

    def on_train_start(self) -> None:
        """Set the learning rate of the first step, and go on with the gradients that a checkpoint kept.

        Raises:
            ValueError: if the learning rate follows a schedule and the trainer has no end.
        """
        scheduler = self._scheduler
        if scheduler is not None and any(c.scheduler is scheduler for c in self.trainer.lr_scheduler_configs):
            steps = self._num_planned_steps
            if not 0 <= steps < float("inf"):  # negative for data without a length
                raise ValueError(
                    "expected a trainer with max_steps, or with max_epochs over data of a known length, for the "
                    "schedule to follow, got neither"
                )
            update_learning_rates(scheduler)
        parameters = dict(self.named_parameters())
        for name, gradient in self._accumulated_gradients.items():
            parameters[name].grad = gradient.to(parameters[name].device)
        self._accumulated_gradients = {}

    @property
    def _is_between_steps(self) -> bool:
        """Whether batches have been processed whose gradients are not part of a step yet."""
        if self._trainer is None or not self.automatic_optimization:
            return False
        num_batches = self.trainer.fit_loop.epoch_loop.batch_progress.current.processed  # pyright: ignore[reportAttributeAccessIssue]
        is_epoch_end = num_batches >= self.trainer.num_training_batches
        return num_batches % self.trainer.accumulate_grad_batches > 0 and not is_epoch_end

    @property
    def _is_epoch_cut(self) -> bool:
        """Whether the training ends within an epoch, as ``max_time`` has it."""
        trainer = self._trainer
        if trainer is None or not trainer.should_stop:
            return False
        num_batches = trainer.fit_loop.epoch_loop.batch_progress.current.processed  # pyright: ignore[reportAttributeAccessIssue]
        return 0 < num_batches < trainer.num_training_batches < float("inf")

    @property
    def _num_planned_steps(self) -> float:
        """Steps of the whole training; 1 before the trainer has made its loaders, which tell their number.

        Asking the trainer before that would make the loaders, and Lightning would not restore their position then.
        """
        trainer = self.trainer
        is_known = trainer.max_epochs == -1 or trainer.train_dataloader is not None
        return trainer.estimated_stepping_batches if is_known else 1

    @property
    def progress(self) -> float:
        """Share of the training that is done, in [0, 1]; it goes on where a resumed run stopped."""
        if self._trainer is None:
            return 0.0
        steps = max(1, self._num_planned_steps)
        if self.automatic_optimization:
            return min(1.0, self.global_step / steps)
        # global_step and max_steps count the steps of all optimizers, but the trainer expects a number of batches
        batches, max_steps = self.trainer.fit_loop.epoch_loop.batch_progress.total.completed, self.trainer.max_steps
        return min(1.0, max(batches / steps, self.global_step / max_steps if max_steps > 0 else 0.0))

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Trainable parameters; a group's ``lr_scale``, if it has one, is a factor of its learning rate."""
        return [{"params": [parameter for parameter in self.parameters() if parameter.requires_grad]}]

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """The optimizer, its learning rate scheduled over the steps that the trainer expects."""
        optimizer = self._optimizer(self.parameter_groups())
        for group in optimizer.param_groups:
            group["lr"] *= group.pop("lr_scale", 1.0)
            check_rate("the optimizer's lr", group["lr"])
        # a lambda, for of any other callable the scheduler's state would hold what it refers to
        self._scheduler = LambdaLR(optimizer, lambda step: self._learning_rate_factor(step))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": self._scheduler, "interval": "step"}}

    def _learning_rate_factor(self, step: int) -> float:
        """Factor of the learning rate in the middle of a step's share of the training."""
        return self._schedule(min(1.0, (step + 0.5) / max(1, self._num_planned_steps)))


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
