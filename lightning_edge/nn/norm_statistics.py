"""Statistics of batch norm taken anew, which fits a net to other images without learning anything."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


@torch.no_grad()
def reestimate_norms(net: nn.Module, batches: Iterable[Any], run: Callable[[Any], object] | None = None) -> int:
    """Replace the running statistics of all batch norms by plain means over some batches, as in AdaBN.

    Source: Li et al., *Revisiting Batch Normalization for Practical Domain Adaptation*, arXiv:1603.04779.

    Args:
        net: With batch norms that note statistics; all parts of it keep their mode.
        batches: What ``run`` takes.
        run: Applies the net to a batch; ``net`` itself if ``None``.

    Returns:
        How many batches there were; with none, or after an error, the statistics are as they were.

    Raises:
        ValueError: The net has no such batch norm.
    """
    norms = [module for module in net.modules() if isinstance(module, _BatchNorm) and module.track_running_stats]
    if not norms:
        raise ValueError(f"expected a net with batch norms that note statistics, got {type(net).__name__} without")
    modes, momenta = {module: module.training for module in net.modules()}, [norm.momentum for norm in norms]
    before = [{name: value.clone() for name, value in norm.named_buffers()} for norm in norms]
    num_batches = 0
    try:
        net.eval()
        for batch in batches:
            if num_batches == 0:
                for norm in norms:
                    norm.reset_running_stats()
                    norm.momentum = None  # a plain mean over all batches
                    norm.train()
            (run or net)(batch)
            num_batches += 1
    except BaseException:
        for norm, values in zip(norms, before, strict=True):
            for name, value in values.items():
                norm.get_buffer(name).copy_(value)
        raise
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        for module, is_training in modes.items():
            module.training = is_training
    return num_batches
