"""Layers of a module by name, and the layer that computes its last features."""

import difflib
from typing import Any, NamedTuple

from torch import nn

OWNED = "adaptation_"
"""Start of the names under which callbacks register their own nets on a module."""
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_ENDS = (nn.Linear, *_CONVOLUTIONS)
_OUTPUTS = ("out_features", "out_channels")


class NamedLayer(NamedTuple):
    """A part of a module."""

    name: str
    """Its dotted name, such as ``net.fc``."""
    module: nn.Module


def find_layer(module: nn.Module, name: str | None, num_classes: int | None) -> NamedLayer:
    """Name and layer of a module.

    Args:
        module: Module to search.
        name: Dotted name of the layer, such as ``net.fc``. ``None`` means the last layer: the one that a part of the
            module names by an attribute ``class_layer``, otherwise the last linear layer or convolution with
            ``num_classes`` outputs in the order in which the module registers them.
        num_classes: Number of outputs of the last layer; any number if ``None``.

    Raises:
        ValueError: There is no such layer.
    """
    layers = {key: layer for key, layer in module.named_modules() if key and not key.startswith(OWNED)}
    if name is not None:
        if name not in layers:
            near = difflib.get_close_matches(name, layers, n=5, cutoff=0.4) or list(layers)[-5:]
            raise ValueError(
                f"expected layer as the name of a part of {type(module).__name__}, such as {near}, got {name!r}"
            )
        return NamedLayer(name, layers[name])
    for key, part in layers.items():
        if isinstance(own := getattr(part, "class_layer", None), str):
            return NamedLayer(f"{key}.{own}", part.get_submodule(own))
    ends = [
        candidate
        for candidate in map(NamedLayer._make, layers.items())
        if isinstance(candidate.module, _ENDS) and num_classes in (None, num_outputs(candidate))
    ]
    if not ends:
        outputs = "" if num_classes is None else f" with num_classes ({num_classes}) outputs"
        raise ValueError(
            f"expected {type(module).__name__} to have a linear layer or a convolution{outputs}, got none: name the "
            "layer whose input is to be adapted by the argument layer"
        )
    return ends[-1]


def num_inputs(layer: NamedLayer) -> int:
    """Number of features or channels that a layer takes.

    Raises:
        ValueError: The layer does not state it.
    """
    return _stated(layer, "inputs", ("in_features", "in_channels", "num_features", "embed_dim"))


def num_outputs(layer: NamedLayer) -> int:
    """Number of features or channels that a layer returns.

    Raises:
        ValueError: The layer does not state it.
    """
    return _stated(layer, "outputs", _OUTPUTS)


def layer_like(layer: NamedLayer) -> nn.Module:
    """A layer with the same options as another one, and initial weights of its own.

    Raises:
        ValueError: The layer is neither linear nor a convolution.
    """
    name, module = layer
    if isinstance(module, nn.Linear):
        return nn.Linear(module.in_features, module.out_features, module.bias is not None)
    if isinstance(module, _CONVOLUTIONS):
        options = ("kernel_size", "stride", "padding", "dilation", "groups", "padding_mode")
        arguments: Any = {option: getattr(module, option) for option in options} | {"bias": module.bias is not None}
        return type(module)(module.in_channels, module.out_channels, **arguments)
    raise ValueError(f"expected layer as a linear layer or a convolution, got {type(module).__name__} for {name!r}")


def _stated(layer: NamedLayer, what: str, attributes: tuple[str, ...]) -> int:
    for attribute in attributes:
        count: Any = getattr(layer.module, attribute, None)
        if isinstance(count, int):
            return count
    raise ValueError(
        f"expected layer as one that states the number of its {what}, such as a linear layer or a convolution, got "
        f"{type(layer.module).__name__} for {layer.name!r}"
    )
