"""Gradients of the parts of one optimizer step."""

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.utils import get_total_norm

from lightning_edge.ops.precision import at_least_float32


class GradientParts:
    """Sums over the parts of one step.

    The gradient of a part is the change of ``weight.grad`` in its backward pass. Hooks on the weights' gradients would
    be wrong: a backward pass may compute other gradients, as the continuous adjoint does, or reach a weight several
    times, as activation checkpoints do. The change is read at once, because DDP then replaces it by the mean over
    processes.
    """

    def __init__(self, weights: list[nn.Parameter], device: torch.device) -> None:
        self.weights = weights
        self._square = torch.zeros((), device=device)
        self._inverse_size = 0.0
        self.num_batches = 0
        self._before: list[Tensor | None] = []
        self._square_of: dict[int, Tensor] = {}
        self._handles = [
            weight.register_post_accumulate_grad_hook(partial(self._see, index)) for index, weight in enumerate(weights)
        ]

    def begin(self) -> None:
        """Copy the gradients before the backward pass of a part."""
        self._before = [None if weight.grad is None else weight.grad.clone() for weight in self.weights]
        self._square_of = {}

    def count(self, size: int) -> None:
        """Count a part with ``size`` examples."""
        self._square = self._square + sum(self._square_of.values())
        self._inverse_size += 1 / size
        self.num_batches += 1

    def end(self) -> None:
        """Stop observing gradients."""
        for handle in self._handles:
            handle.remove()
        self._before, self._square_of = [], {}

    @torch.no_grad()
    def _see(self, index: int, weight: Tensor) -> None:
        """Compute the squared norm of a part's contribution to a weight's gradient so far."""
        if weight.grad is not None and self._before:
            before = self._before[index]
            self._square_of[index] = squared_norm([weight.grad if before is None else weight.grad - before])

    def sums(self, factor: float) -> Tensor:
        """Three sums over the parts: squared norms times ``factor``, 1 / examples, and 1."""
        others = self._square.new_tensor([self._inverse_size, self.num_batches])
        return torch.cat([self._square[None] * factor, others])


def squared_norm(gradients: list[Tensor]) -> Tensor:
    """Squared norm of all gradients together."""
    return get_total_norm([at_least_float32(gradient) for gradient in gradients]).square()
