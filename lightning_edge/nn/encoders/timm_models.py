"""Nets of timm by their names: with an error that helps, and with weights of a file that fit them."""

import difflib
from collections.abc import Mapping
from typing import Any

import timm
import torch
from timm.models import get_pretrained_cfg
from torch import nn

from lightning_edge.nn.encoders.weight_files import Weights, load_weights, other_net, read_weights

_OF_FEATURES = ("features_only", "out_indices", "feature_cls")
"""Options of feature maps that the net with its classifier does not take."""


def make_timm_model(argument: str, name: str, options: Mapping[str, Any]) -> nn.Module:
    """A net with random weights.

    Args:
        argument: What the name was given as, for the error.
        name: Of a model of timm.
        options: What ``timm.create_model`` takes for it.

    Raises:
        ValueError: timm has no such model, or it does not take these options.
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
    """A classifier with the weights of a file, but for its last layer where the file has another number of classes.

    Args:
        argument: What the name was given as, for the error.
        name: Of a model of timm.
        weights: File of weights in timm's format.
        num_classes: Of the result.
        options: What ``timm.create_model`` takes for it besides.

    Raises:
        ValueError: As for :func:`make_timm_model` and
            :func:`~lightning_edge.nn.encoders.weight_files.read_weights`, or the file has not all of the net's
            weights and no others.
        FileNotFoundError: There is no such file.
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
    """Feature maps with the weights of a file: of the whole net, whatever its classes, or of these features alone.

    Args:
        argument: What the name was given as, for the error.
        name: Of a model of timm.
        weights: File of weights in timm's format.
        options: What ``timm.create_model`` takes for it, ``features_only`` among them.

    Raises:
        ValueError: As for :func:`make_timm_model` and
            :func:`~lightning_edge.nn.encoders.weight_files.read_weights`, or the file is that of another net.
        FileNotFoundError: There is no such file.
    """
    state = read_weights(weights, f"{argument} weights")
    # for features, timm leaves random what a file lacks and ignores what it has too much
    whole = {key: value for key, value in options.items() if key not in _OF_FEATURES}
    try:
        with torch.random.fork_rng(devices=[]):  # as if one net had been made; the generators of GPUs are left alone
            _load_whole(name, weights, state, whole)
    except ValueError as error:
        model = make_timm_model(argument, name, options)
        if state.keys() != model.state_dict().keys():
            raise error from None
        load_weights(model, state, weights, name)
        return model
    return make_timm_model(argument, name, {**options, **_from_file(name, weights, state)})


def _load_whole(name: str, weights: str, state: Weights, options: Mapping[str, Any]) -> nn.Module:
    """The net with all weights of the file and as many classes as it has, of which timm leaves nothing out."""
    try:
        loading = {**options, "num_classes": _num_classes(name, state), **_from_file(name, weights, state)}
        return timm.create_model(name, **loading)
    except Exception as error:  # timm translates names and shapes, and meets what it does not expect in many ways
        raise other_net(weights, name, error) from None


def _from_file(name: str, weights: str, state: Weights) -> dict[str, Any]:
    overlay = {"file": weights, "num_classes": _num_classes(name, state), "label_offset": 0}
    return {"pretrained": True, "pretrained_cfg_overlay": overlay}


def _num_classes(name: str, state: Weights) -> int | None:
    """Classes of the file's last layer, 0 if it has none; ``None`` if timm does not say which layer is the last."""
    layers = [state.get(f"{classifier}.weight") for classifier in _classifiers(name)]
    if not layers:
        return None
    return next((weight.shape[0] for weight in layers if weight is not None and weight.ndim), 0)


def _classifiers(name: str) -> tuple[str, ...]:
    found: Any = getattr(get_pretrained_cfg(name), "classifier", None) or ()
    return (found,) if isinstance(found, str) else tuple(found)
