"""Timm models by their names, with helpful errors and with weights from a file."""

import difflib
from collections.abc import Mapping
from typing import Any

import timm
import torch
from timm.models import get_pretrained_cfg
from torch import nn

from lightning_edge.nn.encoders.weight_files import Weights, load_weights, other_net, read_weights

_FEATURE_OPTIONS = ("features_only", "out_indices", "feature_cls")
"""Options for feature maps, which the whole net with its classifier does not take."""


def make_timm_model(argument: str, name: str, options: Mapping[str, Any]) -> nn.Module:
    """A timm model with random weights.

    Args:
        argument: Name of the argument that gave ``name``, for the error.
        name: Name of a timm model.
        options: Further arguments of ``timm.create_model``.

    Raises:
        ValueError: timm has no such model, or the model does not take these options.
    """
    if not timm.is_model(name):
        close = difflib.get_close_matches(name, timm.list_models(), n=3)
        raise ValueError(f"expected {argument} to be a timm model{f', such as {close}' if close else ''}, got {name!r}")
    try:
        return timm.create_model(name, **options)
    except (AssertionError, RuntimeError, TypeError) as error:
        shown = {key: value for key, value in options.items() if not key.startswith("pretrained")}
        raise ValueError(
            f"expected {argument} to be a timm model that takes {shown}, got {name!r}: {str(error) or 'it does not'}"
        ) from error


def load_timm_classifier(
    argument: str, name: str, weights: str, num_classes: int, options: Mapping[str, Any]
) -> nn.Module:
    """A classifier with weights from a file. The last layer is random if the file has another number of classes.

    Args:
        argument: Name of the argument that gave ``name``, for the error.
        name: Name of a timm model.
        weights: Path of a file of weights in timm's format.
        num_classes: Number of classes of the returned net.
        options: Further arguments of ``timm.create_model``.

    Raises:
        ValueError: :func:`make_timm_model` or :func:`~lightning_edge.nn.encoders.weight_files.read_weights` fails, or
            the weights in the file are not exactly those of the net.
        FileNotFoundError: The file does not exist.
    """
    state = read_weights(weights, f"{argument} weights")
    model = make_timm_model(argument, name, {**options, "num_classes": num_classes})
    loaded = _load_whole(name, weights, state, options)
    if _num_classes(name, state) == num_classes:
        return loaded
    prefixes = tuple(f"{classifier}." for classifier in _classifiers(name))
    body = {key: value for key, value in loaded.state_dict().items() if not key.startswith(prefixes)}
    model.load_state_dict(body, strict=False)
    return model


def load_timm_features(argument: str, name: str, weights: str, options: Mapping[str, Any]) -> nn.Module:
    """An encoder with weights from a file of the whole net, whatever its classes, or of the encoder alone.

    Args:
        argument: Name of the argument that gave ``name``, for the error.
        name: Name of a timm model.
        weights: Path of a file of weights in timm's format.
        options: Further arguments of ``timm.create_model``, including ``features_only``.

    Raises:
        ValueError: :func:`make_timm_model` or :func:`~lightning_edge.nn.encoders.weight_files.read_weights` fails, or
            the file belongs to another net.
        FileNotFoundError: The file does not exist.
    """
    state = read_weights(weights, f"{argument} weights")
    # with features_only, timm leaves missing weights random and ignores superfluous ones
    whole = {key: value for key, value in options.items() if key not in _FEATURE_OPTIONS}
    try:
        # keeps the random state as if one net had been made; the generators of GPUs are not touched
        with torch.random.fork_rng(devices=[]):
            _load_whole(name, weights, state, whole)
    except ValueError as error:
        model = make_timm_model(argument, name, options)
        if state.keys() != model.state_dict().keys():
            raise error from None
        load_weights(model, state, weights, name)
        return model
    return make_timm_model(argument, name, {**options, **_from_file(name, weights, state)})


def _load_whole(name: str, weights: str, state: Weights, options: Mapping[str, Any]) -> nn.Module:
    """The net with all weights and the number of classes of the file, so that timm does not skip any weights."""
    try:
        loading = {**options, "num_classes": _num_classes(name, state), **_from_file(name, weights, state)}
        return timm.create_model(name, **loading)
    except Exception as error:  # timm converts names and shapes, and raises many types for unexpected ones
        raise other_net(weights, name, error) from None


def _from_file(name: str, weights: str, state: Weights) -> dict[str, Any]:
    overlay = {"file": weights, "num_classes": _num_classes(name, state), "label_offset": 0}
    return {"pretrained": True, "pretrained_cfg_overlay": overlay}


def _num_classes(name: str, state: Weights) -> int | None:
    """Number of classes of the file, 0 without a last layer; ``None`` if timm does not say which layer is the last."""
    layers = [state.get(f"{classifier}.weight") for classifier in _classifiers(name)]
    if not layers:
        return None
    return next((weight.shape[0] for weight in layers if weight is not None and weight.ndim), 0)


def _classifiers(name: str) -> tuple[str, ...]:
    names: Any = getattr(get_pretrained_cfg(name), "classifier", None) or ()
    return (names,) if isinstance(names, str) else tuple(names)
