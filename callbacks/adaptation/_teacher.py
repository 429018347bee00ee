"""A teacher: a module with the running mean of its weights."""

from collections.abc import Callable
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.func import functional_call

from callbacks.adaptation._layers import OWNED


class Teacher(nn.Module):
    """Running mean of the weights of a module during its training (mean teacher, arXiv:1703.01780).

    Batch norms of the teacher have statistics of their own, which its own passes update.

    Args:
        module: Module with the weights at the start.
    """

    num_updates: Tensor

    def __init__(self, module: LightningModule) -> None:
        super().__init__()
        self._names: dict[str, str] = {}
        for number, (name, tensor) in enumerate(_weights(module).items()):
            self._names[name] = f"weight_{number}"
            self.register_buffer(self._names[name], tensor.detach().clone())
        self.register_buffer("num_updates", torch.tensor(0))

    @torch.no_grad()
    def update(self, module: LightningModule, decay: float) -> None:
        """Move the weights towards those of a module. Early updates average over all weights so far."""
        self.num_updates += 1
        rate = max(1 - decay, 1 / (1 + int(self.num_updates)))
        buffers = {name for name, _ in module.named_buffers()}
        for name, tensor in _weights(module).items():
            if name not in buffers:
                self.get_buffer(self._names[name]).lerp_(tensor.detach(), rate)

    @torch.no_grad()
    def copy(self, module: LightningModule) -> None:
        """Take over all weights of a module, and the statistics of its norms."""
        self.num_updates += 1
        for name, tensor in _weights(module).items():
            self.get_buffer(self._names[name]).copy_(tensor)

    @torch.no_grad()
    def call(self, module: LightningModule, run: Callable[[Callable[..., Any]], Any]) -> Any:
        """What ``run`` computes if the module has the weights of the teacher.

        Args:
            module: The module whose weights the teacher averages.
            run: Function of a callable that replaces the module.
        """
        weights = {name: self.get_buffer(own) for name, own in self._names.items()}
        return run(lambda *inputs: functional_call(module, weights, inputs))


def _weights(module: LightningModule) -> dict[str, Tensor]:
    """Parameters and buffers of a module, without those of nets that callbacks own."""
    tensors = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    return {name: tensor for name, tensor in tensors.items() if not name.startswith(OWNED)}
