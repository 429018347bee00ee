"""Conversion of a static net to one with experts, and back to a static net for one domain."""

import copy
import warnings
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from timm.layers import Conv2dSame  # pyright: ignore[reportPrivateImportUsage]
from torch import Tensor, nn
from torch.nn.utils import skip_init

from lightning_edge.nn.conditioning import ConditionedLayer
from lightning_edge.nn.dynamic.converted_net import ConvertedNet
from lightning_edge.nn.dynamic.experts import CondConv2d, DomainConv2d, ExpertConv2d, Gate
from lightning_edge.torch_internals import has_forward_hooks


def convert_to_domains(
    module: nn.Module, num_experts: int, num_features: int, gate: Gate = "sigmoid", temperature: float = 1.0
) -> int:
    """Give each convolution several experts that are mixed by the domain, in place. All other layers are unchanged.

    Create the optimizer after this call, because the parameters are replaced.

    Args:
        module: Any net, such as one of timm's. It must not be a convolution itself.
        num_experts: Number of weight sets of each convolution (2 and 4 in arXiv:1911.13237).
        num_features: Length of the embedding that describes a domain.
        gate: See :class:`~lightning_edge.nn.dynamic.experts.ExpertConv2d`.
        temperature: See :class:`~lightning_edge.nn.dynamic.experts.ExpertConv2d`.

    Returns:
        The number of converted convolutions. A warning is given if there are none, or if some are left unchanged
        because they do more than convolve.
    """
    return _convert(module, lambda conv: DomainConv2d(conv, num_experts, num_features, gate, temperature))


def convert_to_condconv(module: nn.Module, num_experts: int) -> int:
    """Give each convolution several experts that are mixed by its own input (CondConv), in place.

    Args:
        module: Any net, such as one of timm's. It must not be a convolution itself.
        num_experts: Number of weight sets of each convolution.

    Returns:
        The number of converted convolutions.
    """
    return _convert(module, lambda conv: CondConv2d(conv, num_experts, conv.in_channels))


def domain_layers(net: nn.Module) -> dict[str, DomainConv2d]:
    """Layers whose experts are mixed by the domain, by their names in the net that :func:`specialize` returns.

    Raises:
        ValueError: The net has other layers that depend on the domain, which no plain net could replace.
    """
    layers = {name: layer for name, layer in _body(net).named_modules() if isinstance(layer, ConditionedLayer)}
    for name, layer in layers.items():
        if not isinstance(layer, DomainConv2d):
            raise ValueError(
                f"expected a net in which only DomainConv2d layers depend on the domain, got {name}, a "
                f"{type(layer).__name__}"
            )
    return layers  # pyright: ignore[reportReturnType] (checked above)


@torch.no_grad()
def domain_weights(
    net: nn.Module, embedding: Float[Tensor, " features"]
) -> dict[str, Float[Tensor, "out in_group height width"]]:
    """Weights of a domain, by their names in the net that :func:`specialize` returns. Nothing else differs by domain.

    Args:
        net: Net with :class:`~lightning_edge.nn.dynamic.experts.DomainConv2d` layers.
        embedding: Embedding of the domain.
    """
    return {
        f"{name}.weight": layer.mixed_weight(embedding.to(layer.weight)[None])[0]
        for name, layer in domain_layers(net).items()
    }


def specialize(net: nn.Module, embedding: Float[Tensor, " features"]) -> nn.Module:
    """A plain net for one domain. Modules, names, shapes and cost are those of the net before its conversion.

    Args:
        net: Net with :class:`~lightning_edge.nn.dynamic.experts.DomainConv2d` layers. It is not changed.
        embedding: Embedding of the domain.

    Raises:
        ValueError: The net has no such convolution, or the embedding has the wrong length.
    """
    layers = list(domain_layers(net).values())
    if not layers:
        raise ValueError(f"expected a net with DomainConv2d layers, got {type(net).__name__} without any")
    if embedding.shape != (layers[0].router.in_features,):
        raise ValueError(f"expected embedding of shape ({layers[0].router.in_features},), got {tuple(embedding.shape)}")
    # the experts are not copied, because they can be most of the net
    return copy.deepcopy(_body(net), {id(layer): _plain(layer, embedding) for layer in layers})


def _body(net: nn.Module) -> nn.Module:
    return net.body if isinstance(net, ConvertedNet) else net


def _convert(module: nn.Module, make: Callable[[nn.Conv2d], ExpertConv2d]) -> int:
    # includes modules that are used in several places: their copies must keep sharing the weights
    everything = module.named_modules(remove_duplicate=False)
    convs = {name: child for name, child in everything if isinstance(child, nn.Conv2d)}
    if "" in convs:
        raise ValueError(f"expected a module that contains convolutions, got a convolution ({type(module).__name__})")
    plain = {name: conv for name, conv in convs.items() if _only_convolves(conv)}
    if left := [name for name in convs if name not in plain]:
        first = convs[left[0]]
        kind = type(first).__name__ + (" with hooks" if type(first) in (nn.Conv2d, Conv2dSame) else "")
        warnings.warn(f"{len(left)} convolutions were not converted, such as {left[0]}, a {kind}.", stacklevel=4)
    if not plain:
        warnings.warn(f"No convolution of {type(module).__name__} could be converted to experts.", stacklevel=4)
    made = {conv: make(conv).train(conv.training) for conv in dict.fromkeys(plain.values())}
    for name, conv in plain.items():
        module.set_submodule(name, made[conv])
    return len(made)


def _only_convolves(conv: nn.Conv2d) -> bool:
    # torch.nn.utils.weight_norm and spectral_norm compute the weights in hooks
    return type(conv) in (nn.Conv2d, Conv2dSame) and not has_forward_hooks(conv)


def _plain(layer: DomainConv2d, embedding: Tensor) -> nn.Conv2d:
    kind = Conv2dSame if layer.same_padding else nn.Conv2d
    settings: Any = (layer.kernel_size, layer.stride, layer.padding, layer.dilation, layer.groups)
    # skip_init draws no weights, so the random numbers of a running training do not change
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
