"""Nets of timm by their names: with an error that helps, and with all of a file's weights or none."""

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import timm
import torch
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


def load_timm_model(argument: str, name: str, weights: str, options: Mapping[str, Any]) -> nn.Module:
    """A net with the weights of a file; timm would take any file and leave what it lacks random, without a word.

    A classifier begins anew where timm has the file's one for another number of classes.

    Args:
        argument: What the name was given as, for the error.
        name: Of a model of timm.
        weights: File of weights in timm's format.
        options: What ``timm.create_model`` takes for it.

    Raises:
        ValueError: As for :func:`make_timm_model`, or the file lacks some weights.
        FileNotFoundError: There is no such file.
    """
    if not Path(weights).is_file():
        raise FileNotFoundError(f"expected weights to be a file of {argument} weights, got {weights}")
    loading = {**options, "pretrained": True, "pretrained_cfg_overlay": {"file": weights}}
    model = make_timm_model(argument, name, loading)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(torch.initial_seed() ^ 1)  # those of GPUs are left alone
        again = make_timm_model(argument, name, loading)
    of_both = zip(model.named_parameters(), again.parameters(), strict=True)
    random = [parameter_name for (parameter_name, value), other in of_both if not torch.equal(value, other)]
    classifier = str(getattr(model, "pretrained_cfg", {}).get("classifier"))
    if random := [parameter for parameter in random if not parameter.startswith(f"{classifier}.")]:
        # what depends on the seed is not from the file
        raise ValueError(
            f"expected weights with all of {name}'s, got {weights}, which lacks {len(random)}, such as {random[0]}"
        )
    return model
