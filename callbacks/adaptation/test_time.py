"""Adaptation during an evaluation, without any training data."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torch.optim import Adam, Optimizer
from typing_extensions import override

from lightning_edge.checks import check_whole_at_least
from lightning_edge.contracts import input_key
from lightning_edge.nn.conditioning import in_domain
from lightning_edge.ops.adaptation.entropy import mean_entropy
from lightning_edge.torch_internals import BatchNorm, NormWithStatistics

_NORMS = (NormWithStatistics, nn.GroupNorm, nn.LayerNorm)


class TENT(Callback):
    """Adapts norms to the data of an evaluation or a prediction, batch by batch (TENT, arXiv:2006.10726).

    Batch norms use the statistics of each batch; only one that gets a single value for each channel, as from a last
    batch of one image, uses its running statistics. After the predictions for a batch, the scales and shifts of all
    norms take a step that makes the entropy of the predictions smaller, so they change those for the next batches, as
    in the paper. Nothing else changes. Each loader of an evaluation starts from the original net, and the module is the
    original one afterwards. In ``fit`` nothing happens.

    Works with modules whose ``forward`` returns logits of classes, ``[batch, classes, ...]``, for the first item of a
    batch. A batch costs a second forward and a backward. Scores depend on the order of the data and on the batch size.
    Several processes adapt separately. The callback logs nothing.

    Args:
        optimizer: Function that makes the optimizer from the scales and shifts. ``None`` means Adam with a learning
            rate of 0.001, as in the paper's experiments on CIFAR.
        num_steps: Number of steps for each batch.

    Raises:
        ValueError: ``num_steps`` is less than 1. Later: the module has no norm with scales and shifts, or its outputs
            are not logits of classes.
    """

    def __init__(
        self, optimizer: Callable[[Iterable[nn.Parameter]], Optimizer] | None = None, num_steps: int = 1
    ) -> None:
        check_whole_at_least(1, num_steps=num_steps)
        self.make_optimizer = Adam if optimizer is None else optimizer
        self.num_steps = num_steps
        self._norms: _Norms | None = None
        self._optimizer: Optimizer | None = None

    @override
    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn == "validate":
            self._norms = _Norms(pl_module)

    @override
    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._norms = _Norms(pl_module)

    @override
    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._norms = _Norms(pl_module)

    @override
    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self._start_loader(batch_idx)

    @override
    def on_test_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self._start_loader(batch_idx)

    @override
    def on_predict_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self._start_loader(batch_idx)

    @override
    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        self._adapt(trainer, pl_module, batch)

    @override
    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        self._adapt(trainer, pl_module, batch)

    @override
    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        self._adapt(trainer, pl_module, batch)

    @override
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._stop()

    @override
    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._stop()

    @override
    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._stop()

    @override
    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._stop()

    def _start_loader(self, batch_idx: int) -> None:
        if self._norms is not None and batch_idx == 0:
            self._norms.reset()
            self._optimizer = self.make_optimizer(self._norms.parameters)

    def _adapt(self, trainer: Trainer, module: LightningModule, batch: Any) -> None:
        if self._norms is None or self._optimizer is None:
            return
        # what is made in inference mode, such as the batch, can take no part in a backward pass
        with torch.inference_mode(False), torch.enable_grad():
            inputs, embedding = _inputs(module, batch)
            for _ in range(self.num_steps):
                with trainer.precision_plugin.forward_context(), in_domain(module, embedding):
                    logits = module(inputs)
                self._norms.descend(mean_entropy(_checked(logits)))
                self._optimizer.step()
                self._optimizer.zero_grad()

    def _stop(self) -> None:
        if self._norms is not None:
            self._norms.close()
        self._norms = self._optimizer = None


class _Norms:
    """The norms of a net, which use the statistics of each batch until they are closed."""

    def __init__(self, net: nn.Module) -> None:
        norms = [module for module in net.modules() if isinstance(module, _NORMS)]
        self.parameters = [parameter for norm in norms for parameter in norm.parameters()]
        if not self.parameters:
            raise ValueError(
                f"expected a module with norms that have scales and shifts, which are all that TENT adapts, got "
                f"{type(net).__name__} without any"
            )
        self._original = [(parameter, parameter.detach().clone()) for parameter in self.parameters]
        self._learning = [(parameter, parameter.requires_grad) for parameter in self.parameters]
        self._with_statistics = [
            (norm, norm.training, norm.momentum) for norm in norms if isinstance(norm, NormWithStatistics)
        ]
        self._buffers = [(buffer, buffer.clone()) for norm in norms for buffer in norm.buffers()]
        for parameter in self.parameters:
            parameter.requires_grad = True
        for norm, _, _ in self._with_statistics:
            norm.training, norm.momentum = True, 0.0  # the running statistics stay
        batch_norms = [norm for norm in norms if isinstance(norm, BatchNorm)]
        self._handles = [norm.register_forward_pre_hook(_choose_statistics) for norm in batch_norms]

    @torch.no_grad()
    def reset(self) -> None:
        """Restore the scales and the shifts."""
        for parameter, value in self._original:
            parameter.copy_(value)

    def descend(self, loss: Tensor) -> None:
        """Give scales and shifts, and nothing else, the gradient of a loss."""
        gradients = torch.autograd.grad(loss, self.parameters, allow_unused=True)
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.grad = gradient

    def close(self) -> None:
        """Restore everything."""
        self.reset()
        for handle in self._handles:
            handle.remove()
        for parameter, learns in self._learning:
            parameter.requires_grad = learns
        for norm, is_training, momentum in self._with_statistics:
            norm.training, norm.momentum = is_training, momentum
        for buffer, value in self._buffers:  # a momentum of 0 does not protect them from NaN
            buffer.copy_(value)


def _choose_statistics(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    """Let a norm use the statistics of the batch unless each channel has a single value, of which there are none."""
    norm.training = inputs[0].numel() > inputs[0].shape[1]


def _inputs(module: LightningModule, batch: Any) -> tuple[Tensor, Tensor | None]:
    """Copies of the input of the net and of the embeddings of its domains, if there are any."""
    if not isinstance(batch, dict):
        return (batch if isinstance(batch, Tensor) else next(iter(batch))).clone(), None
    batch_type = getattr(module, "batch_type", None)
    key = None if batch_type is None else input_key(batch_type)
    embedding = batch.get("domain_embedding")
    inputs = batch[key if key in batch else next(iter(batch))]
    return inputs.clone(), None if embedding is None else embedding.clone()


def _checked(logits: Any) -> Tensor:
    if not isinstance(logits, Tensor) or not logits.is_floating_point() or logits.ndim < 2:
        got = f"shape {list(logits.shape)}" if isinstance(logits, Tensor) else type(logits).__name__
        raise ValueError(
            f"expected a module whose forward returns logits of classes [batch, classes, ...], for TENT, got {got}"
        )
    return logits
