"""From a static net to one of experts, and back to a static net for one domain."""

import copy
import warnings
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from timm.layers import Conv2dSame  # pyright: ignore[reportPrivateImportUsage]
from torch import Tensor, nn
from torch.nn.utils import skip_init

from lightning_edge.nn.dynamic.converted_net import ConvertedNet
from lightning_edge.nn.dynamic.experts import CondConv2d, DomainConv2d, ExpertConv2d, Gate


def convert_to_domains(
    module: nn.Module, num_experts: int, num_features: int, gate: Gate = "sigmoid", temperature: float = 1.0
) -> int:
    """Give each convolution several experts, mixed by the domain, in place; all other layers stay as they are.

    An optimizer is made after that, for the weights are others.

    Args:
        module: Any net, such as one of timm's; not a convolution itself.
        num_experts: Sets of weights of each convolution (2 and 4 in arXiv:1911.13237).
        num_features: Numbers that describe a domain.
        gate: As in :class:`~lightning_edge.nn.dynamic.experts.ExpertConv2d`.
        temperature: As there.

    Returns:
        How many convolutions there were; a warning says if there were none, or some that stay as they are since they
        do more than convolve.
    """
    return _convert(module, lambda conv: DomainConv2d(conv, num_experts, num_features, gate, temperature))


def convert_to_condconv(module: nn.Module, num_experts: int) -> int:
    """Give each convolution several experts, mixed by its own input (CondConv), in place; returns how many there were.

    Args:
        module: Any net, such as one of timm's; not a convolution itself.
        num_experts: Sets of weights of each convolution.
    """
    return _convert(module, lambda conv: CondConv2d(conv, num_experts, conv.in_channels))


def domain_layers(net: nn.Module) -> dict[str, DomainConv2d]:
    """Layers whose experts are mixed by the domain, by their names in the net that :func:`specialize` gives."""
    return {name: layer for name, layer in _body(net).named_modules() if isinstance(layer, DomainConv2d)}


@torch.no_grad()
def domain_weights(
    net: nn.Module, embedding: Float[Tensor, " features"]
) -> dict[str, Float[Tensor, "out in_group height width"]]:
    """Weights of a domain, by their names in the net that :func:`specialize` gives: all that differs between domains.

    Args:
        net: With :class:`~lightning_edge.nn.dynamic.experts.DomainConv2d`.
        embedding: Describes the domain.
    """
    return {
        f"{name}.weight": layer.mixed_weight(embedding.to(layer.weight)[None])[0]
        for name, layer in domain_layers(net).items()
    }


def specialize(net: nn.Module, embedding: Float[Tensor, " features"]) -> nn.Module:
    """A plain net for one domain: modules, names, shapes and cost are those of the net before its conversion.

    Args:
        net: With :class:`~lightning_edge.nn.dynamic.experts.DomainConv2d`; it stays as it is.
        embedding: Describes the domain.

    Raises:
        ValueError: The net has no such convolution, or the embedding has another number of features.
    """
    layers = list(domain_layers(net).values())
    if not layers:
        raise ValueError(f"expected a net with DomainConv2d to specialize, got {type(net).__name__} without")
    if embedding.shape != (layers[0].router.in_features,):
        raise ValueError(
            f"expected embedding of the shape ({layers[0].router.in_features},), got {tuple(embedding.shape)}"
        )
    # the experts are not copied, for they may be most of the net
    return copy.deepcopy(_body(net), {id(layer): _plain(layer, embedding) for layer in layers})


def _body(net: nn.Module) -> nn.Module:
    return net.body if isinstance(net, ConvertedNet) else net


def _convert(module: nn.Module, make: Callable[[nn.Conv2d], ExpertConv2d]) -> int:
    # with those that stand in several places, which must go on sharing their weights
    everything = module.named_modules(remove_duplicate=False)
    convs = {name: child for name, child in everything if isinstance(child, nn.Conv2d)}
    if "" in convs:
        raise ValueError(f"expected a module around convolutions, got {type(module).__name__}, itself one")
    plain = {name: conv for name, conv in convs.items() if _only_convolves(conv)}
    if left := [name for name in convs if name not in plain]:
        first = convs[left[0]]
        kind = type(first).__name__ + (" with hooks" if type(first) in (nn.Conv2d, Conv2dSame) else "")
        warnings.warn(f"{len(left)} convolutions stay as they are, such as {left[0]}, a {kind}", stacklevel=4)
    if not plain:
        warnings.warn(f"no convolution of {type(module).__name__} could be given experts", stacklevel=4)
    made = {conv: make(conv).train(conv.training) for conv in dict.fromkeys(plain.values())}
    for name, conv in plain.items():
        module.set_submodule(name, made[conv])
    return len(made)


def _only_convolves(conv: nn.Conv2d) -> bool:
    # hooks are how torch.nn.utils.weight_norm makes weights, and spectral_norm
    return type(conv) in (nn.Conv2d, Conv2dSame) and not (conv._forward_pre_hooks or conv._forward_hooks)


def _plain(layer: DomainConv2d, embedding: Tensor) -> nn.Conv2d:
    kind = Conv2dSame if layer.same_padding else nn.Conv2d
    settings: Any = (layer.kernel_size, layer.stride, layer.padding, layer.dilation, layer.groups)
    # without drawing weights, which would change the random numbers of a training that this is called in
    conv = skip_init(kind, layer.in_channels, layer.out_channels, *settings, bias=layer.bias is not None)
    assert isinstance(conv, nn.Conv2d)
    weight = layer.mixed_weight(embedding.to(layer.weight)[None])[0].detach()
    is_last = layer.weight.is_contiguous(memory_format=torch.channels_last) and not layer.weight.is_contiguous()
    conv.weight.data = weight.contiguous(memory_format=torch.channels_last) if is_last else weight
    conv.weight.requires_grad_(layer.weight.requires_grad)
    if layer.bias is not None:
        conv.bias = nn.Parameter(layer.bias.detach().clone(), layer.bias.requires_grad)
    conv.train(layer.training)
    return conv
