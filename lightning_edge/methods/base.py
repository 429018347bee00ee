"""Base class of all methods: a loss to which callbacks can add terms, optimization, and the learning rate."""

from abc import ABC, abstractmethod
from collections import UserDict
from collections.abc import Callable, Iterable
from typing import Any

from lightning.pytorch.callbacks import GradientAccumulationScheduler
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from lightning_edge.contracts import input_key, serves_as
from lightning_edge.methods.batch_kind import check_kind
from lightning_edge.methods.checkpointed import CheckpointedModule
from lightning_edge.methods.lightning_internals import num_batches, trainer_of
from lightning_edge.methods.schedules import PolynomialDecay, Schedule, check_rate, update_learning_rates

OptimizerCallable = Callable[[Iterable], Optimizer]
"""Function that makes an optimizer from parameters or groups of them, such as ``torch.optim.AdamW``."""


class LossTerms(UserDict[str, Callable[[Any], Tensor]]):
    """Loss terms by the name under which each is logged; ``loss`` is reserved for the method's own loss."""

    def __setitem__(self, name: str, term: Callable[[Any], Tensor]) -> None:
        if name == "loss":
            raise ValueError("expected a loss term with a name other than that of the method's own loss, got 'loss'")
        super().__setitem__(name, term)


class Method(CheckpointedModule, ABC):
    """A LightningModule that trains on one type of batch.

    Subclasses set ``batch_type`` and implement ``loss`` and ``forward``. Everything else can be overridden as in any
    LightningModule. Callbacks add terms to the loss by name::

        module.loss_terms["coral"] = lambda batch: weight * distance(batch)

    Every call of ``training_step`` adds all terms to the loss and logs each as ``train/<name>``. Nothing else may be
    logged under the same name.

    Hyper-parameters are saved if they are plain values: ``None``, ``bool``, ``int``, ``float``, ``str``, and lists,
    tuples and dicts of them. A checkpoint that the command line wrote therefore loads without further arguments. To
    load a checkpoint of a method that was built in Python, pass ``net=`` and all other arguments that are not plain
    values. Arguments that a subclass takes as ``*args`` have no names and are not saved.

    Args:
        optimizer: Function that makes the optimizer from the parameters.
        schedule: Function that maps the completed share of training to a factor of the learning rate. ``None`` means
            ``PolynomialDecay()``.
    """

    batch_type: type
    domain_names: tuple[str, ...] = ()
    """Names of the domains, indexed by ``domain`` in batches; empty unless the data have domains that recur."""
    loss_weight: float = 1.0
    """Factor of the method's own loss in ``total_loss``. Callbacks change it for a stage of the training."""

    def __init__(self, optimizer: OptimizerCallable, schedule: Schedule | None = None) -> None:
        super().__init__()
        self.loss_terms = LossTerms()
        self._optimizer = optimizer
        self._schedule = PolynomialDecay() if schedule is None else schedule
        self._scheduler: LambdaLR | None = None

    @abstractmethod
    def loss(self, batch: Any) -> Tensor:
        """Scalar loss of a batch of ``batch_type``."""

    @abstractmethod
    def forward(self, inputs: Tensor) -> Any:
        """Outputs of the net, such as logits, for the tensor under the first key of ``batch_type``."""

    def total_loss(self, batch: Any) -> Tensor:
        """Sum of ``loss`` times ``loss_weight`` and all ``loss_terms``; ``loss`` itself and each term are logged."""
        size = len(batch[input_key(self.batch_type)])
        loss = self.loss(batch)
        self.log("train/loss", loss, batch_size=size, prog_bar=True)
        total = self.loss_weight * loss
        for name, term in self.loss_terms.items():
            value = term(batch)
            self.log(f"train/{name}", value, batch_size=size)
            total = total + value
        return total

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Raise an error for a batch of another type, such as a pair of tensors."""
        check_kind(batch, self.batch_type)

    def on_validation_batch_start(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Raise an error for a batch of another type, such as a pair of tensors."""
        check_kind(batch, self.batch_type)

    def on_test_batch_start(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Raise an error for a batch of another type, such as a pair of tensors."""
        check_kind(batch, self.batch_type)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Return the loss with all terms, and log the learning rate of the first parameter group as ``train/lr``."""
        if self.trainer.optimizers:  # a subclass may train without one
            self.log("train/lr", self.trainer.optimizers[0].param_groups[0]["lr"], batch_size=1)
        return self.total_loss(batch)

    def setup(self, stage: str) -> None:
        """Take names and colors of the classes from the data module, after checking that it fits the method.

        Raises:
            ValueError: The data have another type of batch or number of classes, or a ``GradientAccumulationScheduler``
                would change the number of steps.
        """
        self._check_accumulation(stage)
        data = getattr(self.trainer, "datamodule", None)
        data_type = getattr(data, "batch_type", None)
        if stage != "predict" and data_type is not None and not serves_as(data_type, self.batch_type):
            raise ValueError(
                f"expected data of {self.batch_type.__name__} for {type(self).__name__}, got {type(data).__name__}, "
                f"which yields {data_type.__name__}"
            )
        net_classes, data_classes = getattr(self, "num_classes", None), getattr(data, "num_classes", None)
        if net_classes is not None and data_classes is not None and net_classes != data_classes:
            raise ValueError(f"expected a net with the data module's num_classes ({data_classes}), got {net_classes}")
        self.domain_names = getattr(data, "domain_names", None) or ()
        names, palette = getattr(data, "class_names", None), getattr(data, "palette", None)
        if names is not None or palette is not None:  # both, so that they come from the same data
            self.class_names, self.palette = names, palette

    def _check_accumulation(self, stage: str) -> None:
        schedulers = [c for c in self.trainer.callbacks if isinstance(c, GradientAccumulationScheduler)]  # pyright: ignore[reportAttributeAccessIssue]
        if stage == "fit" and schedulers:
            # the schedule and the sampler need the number of steps of an epoch in advance, and Lightning loses the
            # factor of the current epoch when it resumes within an epoch
            raise ValueError(
                "expected one accumulation factor for the whole training, got a GradientAccumulationScheduler "
                f"({schedulers[0].scheduling}). Use Trainer(accumulate_grad_batches=...) instead."
            )

    def on_train_start(self) -> None:
        """Set the learning rate of the first step, and restore the accumulated gradients of a checkpoint.

        Raises:
            ValueError: The learning rate follows a schedule, but the trainer has no limit of steps.
        """
        scheduler = self._scheduler
        if scheduler is not None and any(c.scheduler is scheduler for c in self.trainer.lr_scheduler_configs):
            steps = self._num_planned_steps
            if not 0 <= steps < float("inf"):  # negative for data without a length
                raise ValueError(
                    "expected a trainer with max_steps, or with max_epochs over data of a known length, because the "
                    "learning rate follows a schedule, got neither"
                )
            update_learning_rates(scheduler)
        super().on_train_start()

    @property
    def _num_planned_steps(self) -> float:
        """Number of steps of the whole training; 1 as long as the trainer has not created its loaders.

        Asking the trainer earlier would create the loaders, and Lightning would then not restore their position.
        """
        trainer = self.trainer
        is_known = trainer.max_epochs == -1 or trainer.train_dataloader is not None
        return trainer.estimated_stepping_batches if is_known else 1

    @property
    def progress(self) -> float:
        """Completed share of training, in [0, 1]; a resumed run continues from the share of its checkpoint."""
        if trainer_of(self) is None:
            return 0.0
        steps = max(1, self._num_planned_steps)
        if self.automatic_optimization:
            return min(1.0, self.global_step / steps)
        # global_step and max_steps count the steps of all optimizers, but the planned steps count batches
        batches, max_steps = num_batches(self.trainer), self.trainer.max_steps
        return min(1.0, max(batches / steps, self.global_step / max_steps if max_steps > 0 else 0.0))

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Groups of trainable parameters; a group may have ``lr_scale``, a factor of its learning rate."""
        return [{"params": [parameter for parameter in self.parameters() if parameter.requires_grad]}]

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Make the optimizer, and schedule its learning rate over the planned steps of the trainer."""
        optimizer = self._optimizer(self.parameter_groups())
        for group in optimizer.param_groups:
            group["lr"] *= group.pop("lr_scale", 1.0)
            check_rate("the optimizer's lr", group["lr"])
        # a lambda, because the scheduler's state would include the attributes of any other callable object
        self._scheduler = LambdaLR(optimizer, lambda step: self._learning_rate_factor(step))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": self._scheduler, "interval": "step"}}

    def _learning_rate_factor(self, step: int) -> float:
        """Factor of the learning rate for a step, evaluated in the middle of its share of training."""
        return self._schedule(min(1.0, (step + 0.5) / max(1, self._num_planned_steps)))
