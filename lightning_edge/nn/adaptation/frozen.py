"""Nets through which gradients flow to the inputs only."""

from collections.abc import Callable
from typing import Any

from torch import nn
from torch.func import functional_call


def frozen(net: nn.Module) -> Callable[..., Any]:
    """A function that computes what a net computes, without gradients of the net's parameters.

    With it, both sides of an adversarial game are terms of one loss: the discriminator learns from detached features,
    and the features learn from a frozen discriminator.
    """
    parameters = {name: parameter.detach() for name, parameter in net.named_parameters()}
    return lambda *inputs: functional_call(net, parameters, inputs)
