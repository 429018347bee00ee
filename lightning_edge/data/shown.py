"""Values from files in error messages: short and on one line, however long or nested they are."""

from reprlib import Repr
from typing import Any

_MAX_LENGTH = 120
"""Largest length of a value in a message."""

_repr = Repr()
_repr.maxlevel = 3


def shown(value: Any) -> str:
    """The ``repr`` of a value, shortened."""
    text = _repr.repr(value)
    return text if len(text) <= _MAX_LENGTH else f"{text[: _MAX_LENGTH - 3]}..."


def shown_name(value: Any) -> str:
    """A readable name unchanged and without quotes; any other value as by :func:`shown`."""
    return value if isinstance(value, str) and value.isprintable() and 0 < len(value) <= _MAX_LENGTH else shown(value)
