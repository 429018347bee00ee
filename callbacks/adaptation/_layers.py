"""Layers of a module by name, and the layer that computes its last features."""

import difflib
from typing import Any

from torch import nn

OWNED = "adaptation_"
"""Start of the names under which callbacks register their own nets on a module."""
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_OUTPUTS = ("out_features", "out_channels")


def find_layer(module: nn.Module, name: str | None, num_classes: int | None) -> tuple[str, nn.Module]:
    """Name and layer of a module.

    Args:
        module: Module to search.
        name: Dotted name of the layer, such as ``net.fc``. ``None`` means the last layer: the last linear layer or
            convolution with ``num_classes`` outputs in the order in which the module registers them.
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
        return name, layers[name]
    ends = [
        (key, layer)
        for key, layer in layers.items()
        if isinstance(layer, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d)
        and num_classes in (None, num_outputs(key, layer))
    ]
    if not ends:
        outputs = "" if num_classes is None else f" with num_classes ({num_classes}) outputs"
        raise ValueError(
            f"expected {type(module).__name__} to have a linear layer or a convolution{outputs}, got none: name the "
            "layer whose input is to be adapted by the argument layer"
        )
    return ends[-1]


def num_inputs(name: str, layer: nn.Module) -> int:
    """Number of features or channels that a layer takes.

    Raises:
        ValueError: The layer does not state it.
    """
    return _stated(name, layer, "inputs", ("in_features", "in_channels", "num_features", "embed_dim"))


def num_outputs(name: str, layer: nn.Module) -> int:
    """Number of features or channels that a layer returns.

    Raises:
        ValueError: The layer does not state it.
    """
    return _stated(name, layer, "outputs", _OUTPUTS)


def layer_like(name: str, layer: nn.Module) -> nn.Module:
    """A layer with the same options as another one, and initial weights of its own.

    Raises:
        ValueError: The layer is neither linear nor a convolution.
    """
    if isinstance(layer, nn.Linear):
        return nn.Linear(layer.in_features, layer.out_features, layer.bias is not None)
    if isinstance(layer, _CONVOLUTIONS):
        options = ("kernel_size", "stride", "padding", "dilation", "groups", "padding_mode")
        arguments: Any = {option: getattr(layer, option) for option in options} | {"bias": layer.bias is not None}
        return type(layer)(layer.in_channels, layer.out_channels, **arguments)
    raise ValueError(f"expected layer as a linear layer or a convolution, got {type(layer).__name__} for {name!r}")


def _stated(name: str, layer: nn.Module, what: str, attributes: tuple[str, ...]) -> int:
    for attribute in attributes:
        count: Any = getattr(layer, attribute, None)
        if isinstance(count, int):
            return count
    raise ValueError(
        f"expected layer as one that states the number of its {what}, such as a linear layer or a convolution, got "
        f"{type(layer).__name__} for {name!r}"
    )
