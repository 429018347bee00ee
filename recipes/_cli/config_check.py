"""Checks of the configuration before the data and the model are built."""

import math
import os
from collections.abc import Iterator
from typing import Any

import torch
from jsonargparse import Namespace

_PROCESSES_PER_CORE = 2

_COUNTS = ("accumulate_grad_batches", "check_val_every_n_epoch", "val_check_interval", "num_nodes")
"""Arguments of the trainer that Lightning uses as divisors."""


def check_config(config: Namespace) -> None:
    """Raise ``ValueError`` for numbers that break every training, and for more processes than the machine can run.

    Args:
        config: Parsed arguments of a command.
    """
    for group in ("trainer", "model", "data"):
        for name, value in _numbers(config.get(group), group):
            if math.isnan(value):
                raise ValueError(f"expected {name} to be a number, got nan")
            if ".optimizer." in name and not 0 <= value < math.inf:
                raise ValueError(f"expected {name} to be finite and at least 0, got {value:g}")
    if "trainer" in config:
        _check_counts(config.trainer)
        _check_devices(config.trainer.get("accelerator"), config.trainer.get("devices"))


def _numbers(value: Any, name: str) -> Iterator[tuple[str, float]]:
    """All floats in a part of the configuration, with their names on the command line."""
    if isinstance(value, float):
        yield name, value
    elif isinstance(value, Namespace | dict):
        for key, item in (vars(value) if isinstance(value, Namespace) else value).items():
            yield from _numbers(item, name if key == "init_args" else f"{name}.{key}")
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _numbers(item, name)


def _check_counts(trainer: Namespace) -> None:
    for name in _COUNTS:
        value = trainer.get(name)
        if isinstance(value, int) and value < 1:
            raise ValueError(f"expected trainer.{name} of at least 1, got {value}")


def _check_devices(accelerator: Any, devices: Any) -> None:
    """Limit the number of processes: on a CPU each device is one, and Lightning starts any number of them."""
    has_other = torch.cuda.is_available() or torch.backends.mps.is_available()
    if accelerator != "cpu" and (accelerator != "auto" or has_other):
        return
    most = _PROCESSES_PER_CORE * (os.cpu_count() or 1)
    text = str(devices)
    if devices is not None and text != "auto" and not (text.isdecimal() and 1 <= int(text) <= most):
        raise ValueError(f"expected trainer.devices from 1 to {most}, the most processes for this CPU, got {devices}")
