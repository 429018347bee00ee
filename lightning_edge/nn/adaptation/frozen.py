"""Nets that compute beside their training: without gradients of their parameters, or without new statistics."""

from collections.abc import Callable
from typing import Any

from torch import nn
from torch.func import functional_call


def frozen(net: nn.Module) -> Callable[..., Any]:
    """A function that computes what a net computes, without gradients of the net's parameters.

    With it, both sides of an adversarial game are terms of one loss: the discriminator learns from detached features,
    and the features learn from a frozen discriminator. Buffers of the net, such as running statistics, stay as they
    are.
    """
    parameters = {name: parameter.detach() for name, parameter in net.named_parameters()}
    return lambda *inputs: functional_call(net, parameters | _copies_of_buffers(net), inputs)


def with_fixed_buffers(net: nn.Module) -> Callable[..., Any]:
    """A function that computes what a net computes, whose buffers, such as running statistics, stay as they are."""
    return lambda *inputs: functional_call(net, _copies_of_buffers(net), inputs)


def _copies_of_buffers(net: nn.Module) -> dict[str, Any]:
    return {name: buffer.clone() for name, buffer in net.named_buffers()}
