"""The gradient noise scale: an estimate, from one training, of the batch size above which gradients hardly improve."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_warn
from lightning.pytorch.utilities.seed import isolate_rng
from lightning.pytorch.utilities.signature_utils import is_param_in_hook_signature
from torch import Tensor
from torch.optim import Optimizer
from typing_extensions import override

from callbacks._training.batch import batch_size_of, part_of, rows_left_whole
from callbacks._training.buffers import kept_buffers
from callbacks._training.elapsed import Elapsed
from callbacks._training.gradient_parts import GradientParts, squared_norm
from callbacks._training.log import log_now
from callbacks._training.plain_training import check_plain_training, gradient_scale, loss_scale
from lightning_edge.checks import check_at_least
from lightning_edge.ops.gradient_noise import gradient_noise


class GradientNoiseScale(Callback):
    """Measures the gradient noise scale while any module trains.

    The scale is the variance of the gradients of single examples divided by the squared norm of their mean, in
    examples. The gradients of a batch that is smaller than the scale are mostly noise, and the number of steps falls in
    proportion to the batch size. A batch that is many times larger hardly gains from more examples. The scale tends to
    rise as the loss falls. It predicts the critical batch size of SGD without momentum; momentum makes that larger.
    Source: McCandlish et al., arXiv:1812.06162.

    The scale is computed from the gradients of parts of a step and from their mean. If a step takes several batches
    (``accumulate_grad_batches``) or several processes (DDP), these are the parts, and nothing is computed twice. A
    measured step with several batches needs one more copy of the gradients. Otherwise the batch is split, and its parts
    pass through ``training_step`` once more. Such a measured step takes nearly twice the time, and counters inside of
    ``training_step`` count it twice, but weights, gradients, buffers, random numbers and logs do not change. Examples
    are the rows of a batch's tensors, or the items of lists of the same length. The weights are those of the optimizer
    that are trainable at the start of a step. Variance and squared norm are averaged separately over the last steps,
    also across checkpoints, and then divided. With batch norm, the gradients use the statistics of a part.

    ============================  ===============================================================  =================
    key                           meaning                                                          unit
    ============================  ===============================================================  =================
    ``noise/scale``               average variance divided by average squared norm; NaN if the     examples
                                  noise hides the mean
    ``noise/variance``            average variance of a single example's gradient (trace)          gradient, squared
    ``noise/squared_gradient``    average squared norm of the mean gradient                        gradient, squared
    ============================  ===============================================================  =================

    Args:
        every_n_steps: Number of optimizer steps from one measurement to the next.
        decay: Weight of the earlier average at each measurement, in [0, 1).
        num_parts: Number of parts that a batch is split into if a step has only one batch.

    Raises:
        ValueError: An argument is out of range. Later: the module uses manual optimization, or the strategy shards
            gradients.
    """

    def __init__(self, every_n_steps: int = 10, decay: float = 0.9, num_parts: int = 2) -> None:
        check_at_least(1, every_n_steps=every_n_steps)
        if not 0 <= decay < 1:
            raise ValueError(f"expected decay within [0, 1), got {decay}")
        check_at_least(2, num_parts=num_parts)
        self.every_n_steps = every_n_steps
        self.decay = decay
        self.num_parts = num_parts
        self._variance = self._squared_gradient = self._weight = 0.0
        self._clock = Elapsed()
        self._parts: GradientParts | None = None
        self._size_of_part = 0
        self._warned: set[str] = set()

    @property
    def variance(self) -> float:
        """Average trace of the covariance of single examples' gradients; NaN before the first measurement."""
        return self._variance / self._weight if self._weight else math.nan

    @property
    def squared_gradient(self) -> float:
        """Average squared norm of the mean gradient; NaN before the first measurement."""
        return self._squared_gradient / self._weight if self._weight else math.nan

    @property
    def noise_scale(self) -> float:
        """Variance divided by squared gradient, in examples; NaN if the noise hides the mean."""
        return self.variance / self.squared_gradient if self.squared_gradient > 0 else math.nan

    @property
    def seconds(self) -> float:
        """Time for split batches, in seconds. If a step has parts anyway, the measurement is not timed."""
        return self._clock.seconds

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage == "fit":
            check_plain_training(trainer, pl_module)

    @override
    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if trainer.global_step % self.every_n_steps:
            self._stop()  # discards a step that did not happen
        elif trainer.accumulate_grad_batches * trainer.world_size == 1:
            self._clock.go(pl_module.device)
            self._split(trainer, pl_module, batch, batch_idx)
            self._clock.pause(pl_module.device)
        else:
            if self._parts is None:
                self._watch(trainer, pl_module)
            self._size_of_part = batch_size_of(batch)

    @override
    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        if self._parts is not None:  # gradients of the previous step are cleared now, those of earlier batches are not
            self._parts.begin()

    @override
    def on_after_backward(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._parts is not None:  # a step that returns None has no backward pass and does not count
            self._parts.count(self._size_of_part)

    @override
    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        # Lightning divides gradients by accumulate_grad_batches, even if the last step of an epoch has fewer
        self._measure(trainer, trainer.accumulate_grad_batches, gradient_scale(trainer, optimizer))

    @override
    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._clock.pause(pl_module.device)
        self._stop()

    @override
    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._stop()

    @override
    def state_dict(self) -> dict[str, float]:
        return {
            "variance": self._variance,
            "squared_gradient": self._squared_gradient,
            "weight": self._weight,
            "seconds": self.seconds,
        }

    @override
    def load_state_dict(self, state_dict: Mapping[str, float]) -> None:
        self._variance, self._squared_gradient, self._weight = (
            state_dict[name] for name in ("variance", "squared_gradient", "weight")
        )
        self._clock.seconds = state_dict["seconds"]

    def _watch(self, trainer: Trainer, module: LightningModule) -> GradientParts:
        """Observe the gradients of single batches from now on."""
        groups = trainer.optimizers[0].param_groups
        weights = [weight for group in groups for weight in group["params"] if weight.requires_grad]
        parts = self._parts = GradientParts(weights, module.device)
        return parts

    def _stop(self) -> GradientParts | None:
        parts, self._parts = self._parts, None
        if parts is not None:
            parts.end()
        return parts

    def _split(self, trainer: Trainer, module: LightningModule, batch: Any, batch_idx: int) -> None:
        size = batch_size_of(batch)
        if size < self.num_parts:
            self._warn_once(
                "small",
                f"gradient noise is not measured for a batch of {size}: expected at least num_parts ({self.num_parts}) "
                "examples, or several batches or processes per step",
            )
            return
        if unsplit := rows_left_whole(batch, size):
            self._warn_once(
                "rows",
                f"expected tensors with as many rows as the first one of a batch ({size}), got {sorted(unsplit)}: "
                "these are not split, and the gradient noise is wrong if they contain examples",
            )
        bounds = [part * size // self.num_parts for part in range(self.num_parts + 1)]
        scale = loss_scale(trainer)
        with _unchanged(module):
            parts = self._watch(trainer, module)
            for start, stop in pairwise(bounds):
                loss = _training_loss(trainer, module, part_of(batch, size, start, stop), batch_idx)
                if loss is None:
                    break
                parts.begin()
                (loss * scale).backward()
                parts.count(stop - start)
            else:
                self._measure(trainer, 1, scale)
        self._stop()

    def _measure(self, trainer: Trainer, divisor: int, scale: float) -> None:
        """Compare the parts with their mean. The gradients are the sum of the parts, times ``scale / divisor``."""
        parts = self._stop()
        if parts is None or not parts.num_batches:
            return
        gradients = [weight.grad for weight in parts.weights if weight.grad is not None]
        whole = squared_norm(gradients) * (divisor / scale / parts.num_batches) ** 2
        sums = parts.sums((divisor / loss_scale(trainer)) ** 2)
        self._average(trainer, trainer.strategy.reduce(sums, reduce_op="sum"), whole)

    def _warn_once(self, kind: str, message: str) -> None:
        if kind not in self._warned:
            rank_zero_warn(message)
        self._warned.add(kind)

    def _average(self, trainer: Trainer, sums: Tensor, whole: Tensor) -> None:
        square, inverse_size, count = sums.cpu().double()
        noise = gradient_noise(square / count, whole.cpu().double(), inverse_size / count, count)
        if not all(torch.isfinite(value) for value in noise):
            return  # a scaler for float16 will skip this step too
        for name, value in zip(("_variance", "_squared_gradient", "_weight"), (*noise, 1.0), strict=True):
            setattr(self, name, self.decay * getattr(self, name) + (1 - self.decay) * float(value))
        names = ("scale", self.noise_scale), ("variance", self.variance), ("squared_gradient", self.squared_gradient)
        log_now(trainer, {f"noise/{name}": value for name, value in names})


def _training_loss(trainer: Trainer, module: LightningModule, batch: Any, batch_idx: int) -> Tensor | None:
    takes_index = is_param_in_hook_signature(module.training_step, "batch_idx", min_args=2)
    with trainer.precision_plugin.train_step_context():
        output: Any = module.training_step(*((batch, batch_idx) if takes_index else (batch,)))
    return output["loss"] if isinstance(output, Mapping) else output


@contextmanager
def _unchanged(module: LightningModule) -> Iterator[None]:
    """Restore gradients, buffers and random numbers after training steps, and suppress their logging."""
    gradients = [(weight, weight.grad) for weight in module.parameters()]
    for weight, _ in gradients:
        weight.grad = None
    for name in ("log", "log_dict"):
        object.__setattr__(module, name, lambda *args, **kwargs: None)
    try:
        with isolate_rng(), kept_buffers(module):
            yield
    finally:
        for name in ("log", "log_dict"):
            object.__delattr__(module, name)
        for weight, gradient in gradients:
            weight.grad = gradient
