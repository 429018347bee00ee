"""What a gradient foretells of the step that follows it."""

import torch
from torch import Tensor, nn


class LinearStep:
    """Weights and gradients before a step of an optimiser.

    Args:
        module: Whose gradients are there and whose weights will step.
        scale: By what the gradients are multiplied.
    """

    def __init__(self, module: nn.Module, scale: float = 1.0) -> None:
        self._scale = scale
        self._before = [
            (parameter, parameter.detach().clone(), parameter.grad.detach().clone())
            for parameter in module.parameters()
            if parameter.grad is not None
        ]

    @torch.no_grad()
    def foretold(self) -> Tensor:
        """Change of the loss by the step that was made since, were the loss linear: gradient times step."""
        changes = [((parameter - weights) * gradient).sum() for parameter, weights, gradient in self._before]
        return torch.stack(changes).sum() / self._scale
