"""Arguments in Python, converted to those of the command line."""

import json
import math
import os
from collections.abc import Mapping, Sequence
from typing import Any


def as_arguments(overrides: Sequence[str] | Mapping[str, Any]) -> list[str]:
    """Arguments of the command line, from a list of them or a mapping such as ``{"trainer.max_epochs": 3}``.

    Values may be ``None``, booleans, numbers, strings, paths, and lists, tuples and dicts of these. NumPy scalars and
    tensors with one element count as numbers.

    Raises:
        ValueError: A value has another type. The message names its key.
    """
    if isinstance(overrides, Mapping):
        return [f"--{_name(key)}={_text(value, str(key))}" for key, value in overrides.items()]
    if isinstance(overrides, str | bytes) or not all(isinstance(item, str | os.PathLike) for item in overrides):
        raise ValueError(
            f"expected overrides as a mapping or as a list of arguments such as '--trainer.max_epochs=3', "
            f"got {overrides!r:.200}"
        )
    return [os.fspath(item) for item in overrides]


def _text(value: Any, key: str) -> str:
    value = _plain(value, key)
    return value if isinstance(value, str) else _yaml(value, key)


def _yaml(value: Any, key: str) -> str:
    """The value as JSON, which is valid YAML, except for infinity and NaN, which JSON lacks."""
    value = _plain(value, key)
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{json.dumps(_name(name))}: {_yaml(item, key)}' for name, item in value.items())}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(_yaml(item, key) for item in value)}]"
    if isinstance(value, float) and not math.isfinite(value):
        return ".nan" if math.isnan(value) else f"{'-' if value < 0 else ''}.inf"
    return json.dumps(value)


def _plain(value: Any, key: str) -> Any:
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    elif hasattr(value, "item") and math.prod(getattr(value, "shape", ())) == 1:  # a NumPy scalar or a tensor
        value = value.item()
    if isinstance(value, str):
        return str.__str__(value)  # an Enum would add its own name
    if value is None or isinstance(value, bool | int | float | list | tuple | Mapping):
        return value
    raise ValueError(
        f"expected {key} as a number, a string, a path, or a list or dict of those, got {type(value).__name__} "
        f"{value!r:.100}"
    )


def _name(key: Any) -> str:
    if not isinstance(key, str):
        raise ValueError(f"expected names of arguments as strings, got {key!r}")
    return key
