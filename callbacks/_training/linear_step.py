"""The change of the loss that a gradient predicts for the next step."""

import torch
from torch import Tensor, nn


class LinearStep:
    """Weights and gradients before a step of the optimizer.

    Args:
        module: Module with gradients, before the optimizer updates its weights.
        scale: Factor that the gradients are multiplied by.
    """

    def __init__(self, module: nn.Module, scale: float = 1.0) -> None:
        self._scale = scale
        self._before = [
            (parameter, parameter.detach().clone(), parameter.grad.detach().clone())
            for parameter in module.parameters()
            if parameter.grad is not None
        ]

    @torch.no_grad()
    def predicted_change(self) -> Tensor:
        """Change of the loss by the step since then if the loss were linear: gradient times step."""
        changes = [((parameter - weights) * gradient).sum() for parameter, weights, gradient in self._before]
        return torch.stack(changes).sum() / self._scale
