"""Re-estimation of batch norm statistics, which adapts a net to other images without training."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from lightning_edge.module_modes import restored_modes
from lightning_edge.torch_internals import BatchNorm

_KINDS = ("running_mean", "running_var", "num_batches_tracked")


@torch.no_grad()
def reestimate_norms(
    net: nn.Module,
    batches: Iterable[Any],
    run: Callable[[Any], object] | None = None,
    sum_over_processes: Callable[[Tensor], Tensor] = lambda values: values,
) -> int:
    """Replace the running statistics of all batch norms by those of all values in the given batches, as in AdaBN.

    Each norm gets the mean and the variance of all its inputs, whatever the sizes of the batches and however they are
    distributed over processes. Meanwhile it normalizes by the statistics of each batch, as in training. Norms that are
    not called keep their statistics. Source: Li et al., *Revisiting Batch Normalization for Practical Domain
    Adaptation*, arXiv:1603.04779.

    Args:
        net: Net with batch norms that track running statistics. All its modules keep their training mode.
        batches: Inputs of ``run``. Each process passes its own batches, or none.
        run: Function that applies the net to a batch; ``net`` itself if ``None``.
        sum_over_processes: Function that sums a tensor over all processes. All processes must call
            ``reestimate_norms``.

    Returns:
        The number of batches in all processes. If there are none, or after an error, the statistics are unchanged.

    Raises:
        ValueError: The net has no such batch norm.
    """
    norms = [module for module in net.modules() if isinstance(module, BatchNorm) and module.track_running_stats]
    if not norms:
        raise ValueError(
            f"expected a net with batch norms that track running statistics, got {type(net).__name__} without any"
        )
    num_batches = 0
    # the statistics are collected by hooks, which a compiled net would skip
    with restored_modes(net), _pooling(net, norms) as pools, torch.compiler.set_stance("force_eager"):
        for batch in batches:
            (run or net)(batch)
            num_batches += 1
    device = next(iter(pools.values())).mean.device
    num_batches = int(sum_over_processes(torch.tensor(float(num_batches), device=device)))
    for norm, pool in pools.items():
        _set_statistics(norm, pool.over_processes(sum_over_processes), num_batches)
    return num_batches


class _Pool(NamedTuple):
    """Mean, variance and number of the values of each channel; with several times, one row for each of them."""

    mean: Float[Tensor, "*times channels"]
    variance: Float[Tensor, "*times channels"]
    num_values: Int64[Tensor, "*times"]

    def over_processes(self, sum_over_processes: Callable[[Tensor], Tensor]) -> "_Pool":
        """The pool of the values of all processes."""
        count = sum_over_processes(self.num_values.clone())
        share = (self.num_values.to(self.mean) / count.clamp(min=1)).unsqueeze(-1)
        mean = sum_over_processes(share * self.mean)
        variance = sum_over_processes(share * (self.variance + (self.mean - mean).square()))
        return _Pool(mean, variance, count)


@contextmanager
def _pooling(net: nn.Module, norms: list[BatchNorm]) -> Iterator[dict[BatchNorm, _Pool]]:
    """Let norms normalize by the statistics of each batch and pool those of all batches separately."""
    before = {norm: [norm.get_buffer(kind) for kind in _KINDS] for norm in norms}
    handles = [norm.register_forward_pre_hook(_pool) for norm in norms]
    try:
        net.eval()
        for norm in norms:
            norm.train()
            norm.track_running_stats = False
            mean, variance, count = before[norm]
            precise = torch.promote_types(mean.dtype, torch.float32)
            # the pools are buffers, so that a net that replaces the buffers has one pool for each of its own
            norm.running_mean = torch.zeros_like(mean, dtype=precise)
            norm.running_var = torch.zeros_like(variance, dtype=precise)
            norm.num_batches_tracked = torch.zeros_like(count)
        yield {norm: _Pool(*(norm.get_buffer(kind) for kind in _KINDS)) for norm in norms}
    finally:
        for handle in handles:
            handle.remove()
        for norm, buffers in before.items():
            norm.track_running_stats = True
            for kind, buffer in zip(_KINDS, buffers, strict=True):
                setattr(norm, kind, buffer)


def _pool(norm: nn.Module, arguments: tuple[Tensor, ...]) -> None:
    """Add the values that a norm is about to normalize to its pool, which is in its buffers."""
    mean, variance, count = (norm.get_buffer(kind) for kind in _KINDS)
    values = arguments[0].to(mean.dtype).transpose(0, 1).flatten(1)
    batch_variance, batch_mean = torch.var_mean(values, 1, correction=0)
    count += values.shape[1]
    share, shift = values.shape[1] / count.to(mean), batch_mean - mean
    mean += share * shift
    variance += share * (batch_variance - variance) + share * (1 - share) * shift.square()


def _set_statistics(norm: BatchNorm, pool: _Pool, num_batches: int) -> None:
    """Set the running statistics to the pooled ones, with the unbiased variance, wherever there were values."""
    unbiased = pool.variance * (pool.num_values.to(pool.mean) / (pool.num_values - 1)).unsqueeze(-1)
    seen = pool.num_values > 0
    for kind, values in zip(_KINDS, (pool.mean, unbiased, torch.full_like(pool.num_values, num_batches)), strict=True):
        buffer = norm.get_buffer(kind)
        mask = seen.unsqueeze(-1) if buffer.ndim > seen.ndim else seen
        buffer.copy_(torch.where(mask, values.to(buffer.dtype), buffer))
