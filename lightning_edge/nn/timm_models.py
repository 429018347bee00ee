"""Nets of timm by their names: with an error that helps, and with weights of a file that lacks none of them."""

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import timm
import torch
from timm.models import load_state_dict
from torch import nn


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
    except (AssertionError, TypeError) as error:
        raise ValueError(
            f"expected {argument} to be a timm model that takes {dict(options)}, got {name!r}: "
            f"{str(error) or 'it does not'}"
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
        ValueError: As for :func:`make_timm_model`, or the file has not all of the net's weights and no others.
        FileNotFoundError: There is no such file.
    """
    state = _read(argument, weights)
    model = make_timm_model(argument, name, {**options, "num_classes": num_classes})
    found: Any = getattr(model, "pretrained_cfg", {}).get("classifier") or ()
    classifiers = (found,) if isinstance(found, str) else tuple(found)
    in_file = next((len(state[f"{key}.weight"]) for key in classifiers if f"{key}.weight" in state), 0)
    # with the number of classes that the file has, timm leaves nothing out, and refuses what is missing
    overlay = {"file": weights, "num_classes": in_file}
    whole = {**options, "num_classes": in_file, "pretrained": True, "pretrained_cfg_overlay": overlay}
    try:
        loaded = make_timm_model(argument, name, whole)
    except RuntimeError as error:
        raise ValueError(f"expected weights with all of {name}'s and no others, got {weights}: {error}") from error
    if in_file == num_classes:
        return loaded
    prefixes = tuple(f"{key}." for key in classifiers)
    body = {key: value for key, value in loaded.state_dict().items() if not key.startswith(prefixes)}
    model.load_state_dict(body, strict=False)
    return model


def load_timm_features(argument: str, name: str, weights: str, options: Mapping[str, Any]) -> nn.Module:
    """Feature maps with the weights of a file; timm would leave what the file lacks random, without a word.

    Args:
        argument: What the name was given as, for the error.
        name: Of a model of timm.
        weights: File of weights in timm's format.
        options: What ``timm.create_model`` takes for it, ``features_only`` among them.

    Raises:
        ValueError: As for :func:`make_timm_model`, or the file lacks some weights or has them in other shapes.
        FileNotFoundError: There is no such file.
    """
    in_file = {_flat(key) for key in _read(argument, weights) if key.endswith("running_mean")}
    loading = {**options, "pretrained": True, "pretrained_cfg_overlay": {"file": weights}}
    try:
        model = make_timm_model(argument, name, loading)
    except RuntimeError as error:
        raise ValueError(f"expected weights in the shapes of {name}'s, got {weights}: {error}") from error
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(torch.initial_seed() ^ 1)  # those of GPUs are left alone
        again = make_timm_model(argument, name, loading)
    of_both = zip(model.named_parameters(), again.parameters(), strict=True)
    # what depends on the seed is not from the file
    lacking = [parameter for (parameter, value), other in of_both if not torch.equal(value, other)]
    statistics = [key for key in model.state_dict() if key.endswith("running_mean")]
    missing = [key for key in statistics if _flat(key) not in in_file]
    if not in_file or len(missing) < len(statistics):  # else the file has names of its own, which timm translates
        lacking += missing
    if lacking:
        raise ValueError(
            f"expected weights with all of {name}'s, got {weights}, which lacks {len(lacking)}, such as {lacking[0]}"
        )
    return model


def _flat(key: str) -> str:
    """Name of a buffer, alike in a whole net and in one of features, whose first dots timm replaces."""
    return key.replace(".", "_")


def _read(argument: str, weights: str) -> dict[str, Any]:
    if not Path(weights).is_file():
        raise FileNotFoundError(f"expected weights to be a file of {argument} weights, got {weights}")
    return load_state_dict(weights)
