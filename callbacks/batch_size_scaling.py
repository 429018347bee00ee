"""The number of steps, examples and seconds that a training needs to reach a target loss."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from torch.optim import Optimizer
from typing_extensions import override

from callbacks._scaling_outcome import report_outcome, with_outcome
from callbacks._training.batch import batch_size_of
from callbacks._training.elapsed import Elapsed
from callbacks._training.fixed_samples import fixed_batches, mean_loss
from callbacks._training.linear_step import LinearStep
from callbacks._training.log import log_now
from callbacks._training.plain_training import check_plain_training, gradient_scale
from callbacks.gradient_noise_scale import GradientNoiseScale
from lightning_edge.analysis.scaling_run import Evaluation, LossSplit, RunMetadata, ScalingRun, write_run
from lightning_edge.checks import check_at_least


class BatchSizeScaling(Callback):
    """Records the loss on fixed samples during a training, and ends the training at a target.

    Works with any module that has ``loss(batch)``, which returns a scalar, such as each
    :class:`~lightning_edge.methods.Method`. The samples are the same in every run
    (:meth:`~lightning_edge.data.EdgeDataModule.fixed_samples`), so runs with different batch sizes, learning rates and
    seeds can be compared; ``python -m recipes.batch_size_scaling`` does that. The samples are evaluated before the
    first step and then every ``every_n_examples`` examples, or after every step if a batch is larger. For the loss on
    training samples, batch norm uses the statistics of batches of ``eval_batch_size`` samples, as in training. For the
    loss on validation samples, it uses its running statistics, as in the later use of the net. The target is reached
    when the median of ``window`` evaluations reaches it.

    A step may take several batches (``accumulate_grad_batches``) in several processes; ``batch_size`` is the number of
    examples in all of them. Batch norm computes its statistics over a single batch, of ``micro_batch_size`` examples,
    and updates its running mean once for each. So a larger batch made by accumulation has *ghost* batch norm (Hoffer et
    al., arXiv:1705.08741).

    If the trainer also has a :class:`~callbacks.gradient_noise_scale.GradientNoiseScale`, its values are written into
    the same table.

    A loss that is not finite ends the run too, and a ``FloatingPointError`` counts as one. Two files are written to the
    run's folder: ``batch_size_scaling.csv`` with a row for each evaluation, and ``batch_size_scaling.json``
    (:mod:`lightning_edge.analysis.scaling_run`).

    =========================  ===================================================================  ==============
    key                        meaning                                                              unit
    =========================  ===================================================================  ==============
    ``scaling/train_loss``     loss on fixed training samples                                       that of the loss
    ``scaling/val_loss``       loss on fixed validation samples                                     the same
    ``scaling/linear_error``   error of the loss that the gradient predicts for the next step       the same
    ``scaling/examples``       examples of all processes so far                                     examples
    =========================  ===================================================================  ==============

    Args:
        target: Loss that ends the training. ``None`` does not end it before the trainer does.
        split: Split of the loss that must reach the target, ``train`` or ``val``.
        num_samples: Number of samples of each split for the mean loss.
        every_n_examples: Smallest number of training examples between two evaluations.
        window: Number of evaluations whose median counts; an odd number.
        linear_error_every: Number of evaluations between two measurements of the linear error. Each measurement needs
            one more evaluation. 0 disables them.
        eval_batch_size: Largest number of samples that are evaluated together. It must be the same in all runs that are
            compared.

    Raises:
        ValueError: An argument is out of range. Later: the module has no ``loss``, a split has no samples by index, the
            module uses manual optimization, or the strategy shards weights.
    """

    def __init__(
        self,
        target: float | None = None,
        split: LossSplit = "train",
        num_samples: int = 1000,
        every_n_examples: int = 5000,
        window: int = 5,
        linear_error_every: int = 0,
        eval_batch_size: int = 100,
    ) -> None:
        if target is not None and not math.isfinite(target):
            raise ValueError(f"expected target to be a finite loss or None, got {target}")
        if min(num_samples, every_n_examples, eval_batch_size) < 1:
            raise ValueError(
                "expected num_samples, every_n_examples and eval_batch_size of at least 1, got "
                f"{num_samples}, {every_n_examples}, {eval_batch_size}"
            )
        if window < 1 or window % 2 == 0:
            raise ValueError(f"expected window to be odd and at least 1, got {window}")
        check_at_least(0, linear_error_every=linear_error_every)
        self.target = target
        self.split: LossSplit = split
        self.num_samples = num_samples
        self.every_n_examples = every_n_examples
        self.window = window
        self.linear_error_every = linear_error_every
        self.eval_batch_size = eval_batch_size
        self._folder: Path | None = None
        self._begin()

    def _begin(self) -> None:
        self._evaluations: list[Evaluation] = []
        self._examples = 0
        self._step = self._since_step = 0
        self._micro_batch_size = 0
        self._clock = Elapsed()
        self._batches: dict[str, list[Any]] = {}
        self._linear_step: LinearStep | None = None
        self._measures_next_step = False

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage != "fit":
            return
        check_plain_training(trainer, pl_module)
        if not callable(getattr(pl_module, "loss", None)):
            raise ValueError(f"expected a module with loss(batch), got {type(pl_module).__name__}, which has none")
        self._begin()  # a resumed state is loaded later
        self._folder = (
            None if trainer.log_dir is None else Path(trainer.log_dir)
        )  # its getter communicates with all processes

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for split in ("train", "val"):
            self._batches[split] = fixed_batches(trainer, split, self.num_samples, self.eval_batch_size)
        if not self._batches[self.split]:
            raise ValueError(
                f"expected data to evaluate split {self.split!r} on, got none: use a data module, let the trainer "
                "validate after every epoch, or use one loader whose dataset has samples by index"
            )
        self._step = trainer.global_step
        if not self._evaluations:
            self._evaluate(trainer, pl_module)
            self._check_target()
        self._clock.go(pl_module.device)

    @override
    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self._micro_batch_size = max(self._micro_batch_size, batch_size_of(batch))

    @override
    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        if self._measures_next_step:
            self._linear_step = LinearStep(pl_module, gradient_scale(trainer, optimizer))
            self._measures_next_step = False

    @override
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._since_step += batch_size_of(batch)
        if trainer.global_step == self._step:
            return  # a step takes several batches
        self._examples += _sum_over_processes(trainer, pl_module, self._since_step)
        self._since_step = 0
        self._step = trainer.global_step
        if self._linear_step is not None:
            self._finish_linear_error(trainer, pl_module, self._linear_step)
            self._linear_step = None
        if self._examples // self.every_n_examples > self._evaluations[-1].examples // self.every_n_examples:
            self._evaluate(trainer, pl_module)

    @override
    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._clock.pause(pl_module.device)

    @override
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking:
            self._clock.go(pl_module.device)

    @override
    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._evaluations[-1].step < trainer.global_step:
            self._evaluate(trainer, pl_module)
        self._clock.pause(pl_module.device)
        self._batches = {}

    @override
    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # not on_train_end, which is not called if a run resumes from its last step
        if not self._evaluations:
            return
        run = self._run(trainer, ended=True)
        self._write(trainer, run)
        report_outcome(run)

    @override
    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._clock.pause(pl_module.device)
        if isinstance(exception, FloatingPointError):
            self._evaluations.append(self._row(trainer, math.nan, math.nan))
            self._write(trainer, self._run(trainer))
        self._batches = {}

    @override
    def state_dict(self) -> dict[str, Any]:
        return {
            "evaluations": [tuple(evaluation) for evaluation in self._evaluations],
            "examples": self._examples,
            "micro_batch_size": self._micro_batch_size,
            "seconds": self._clock.seconds,
        }

    @override
    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        self._evaluations = [Evaluation(*values) for values in state_dict["evaluations"]]
        self._examples = state_dict["examples"]
        self._micro_batch_size = state_dict["micro_batch_size"]
        self._clock.seconds = state_dict["seconds"]

    def _evaluate(self, trainer: Trainer, module: LightningModule) -> None:
        self._clock.pause(module.device)
        losses = {
            split: mean_loss(trainer, module, batches, batch_statistics=split == "train")
            for split, batches in self._batches.items()
            if batches
        }
        evaluation = self._row(trainer, losses.get("train", math.nan), losses.get("val", math.nan))
        every = self.linear_error_every if self._batches["train"] else 0
        self._measures_next_step = every > 0 and len(self._evaluations) % every == 0
        self._evaluations.append(evaluation)
        self._log(trainer, {"train_loss": evaluation.train_loss, "val_loss": evaluation.val_loss})
        run = self._run(trainer)
        self._write(trainer, run)
        if run.metadata.outcome in ("reached", "diverged"):
            trainer.should_stop = True
        self._clock.go(module.device)

    def _check_target(self) -> None:
        loss = self._evaluations[0].loss(self.split)
        if self.target is not None and loss <= self.target:
            raise ValueError(
                f"expected target below the {self.split} loss at the start ({loss:.4g}), got {self.target}"
            )

    def _row(self, trainer: Trainer, train_loss: float, val_loss: float) -> Evaluation:
        callbacks: list[Any] = trainer.callbacks  # pyright: ignore[reportAttributeAccessIssue]
        noise = next((one for one in callbacks if isinstance(one, GradientNoiseScale)), None)
        return Evaluation(
            step=trainer.global_step,
            examples=self._examples,
            epoch=self._examples / self._num_train_examples(trainer),
            seconds=self._clock.seconds - (noise.seconds if noise else 0),
            train_loss=train_loss,
            val_loss=val_loss,
            linear_error=math.nan,
            noise_scale=noise.noise_scale if noise else math.nan,
        )

    def _finish_linear_error(self, trainer: Trainer, module: LightningModule, step: LinearStep) -> None:
        self._clock.pause(module.device)
        before = self._evaluations[-1]
        predicted_loss = before.train_loss + float(step.predicted_change())
        error = abs(mean_loss(trainer, module, self._batches["train"], batch_statistics=True) - predicted_loss)
        self._evaluations[-1] = before._replace(linear_error=error)
        self._log(trainer, {"linear_error": error})
        self._clock.go(module.device)

    def _log(self, trainer: Trainer, values: Mapping[str, float]) -> None:
        values = {**values, "examples": self._examples}
        log_now(trainer, {f"scaling/{name}": value for name, value in values.items()})

    def _run(self, trainer: Trainer, ended: bool = False) -> ScalingRun:
        micro = self._micro_batch_size
        metadata = RunMetadata(
            batch_size=micro * trainer.world_size * trainer.accumulate_grad_batches,
            micro_batch_size=micro,
            num_processes=trainer.world_size,
            learning_rate=_learning_rate(trainer),
            split=self.split,
            target=self.target,
            window=self.window,
            outcome="budget" if ended else "running",
        )
        return with_outcome(ScalingRun(metadata, tuple(self._evaluations)))

    def _write(self, trainer: Trainer, run: ScalingRun) -> None:
        if self._folder is not None and trainer.is_global_zero:
            write_run(run, self._folder)

    def _num_train_examples(self, trainer: Trainer) -> float:
        dataset = getattr(trainer.train_dataloader, "dataset", None)
        return len(dataset) if hasattr(dataset, "__len__") else math.nan  # pyright: ignore


def _sum_over_processes(trainer: Trainer, module: LightningModule, count: int) -> int:
    if trainer.world_size == 1:
        return count
    return int(trainer.strategy.reduce(torch.tensor(count, device=module.device), reduce_op="sum"))


def _learning_rate(trainer: Trainer) -> float:
    """Learning rate of the first parameter group after a warm-up."""
    if not trainer.optimizers:
        return math.nan
    group = trainer.optimizers[0].param_groups[0]
    return float(group.get("initial_lr", group["lr"]))
