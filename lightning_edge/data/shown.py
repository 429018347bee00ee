"""Values of files as parts of error messages: short and on one line, however long or deep they are."""

from reprlib import Repr
from typing import Any

_MOST = 120
"""Characters of a value in a message."""

_repr = Repr()
_repr.maxlevel = 3


def shown(value: Any) -> str:
    """A value as Python writes it, strings in quotes."""
    text = _repr.repr(value)
    return text if len(text) <= _MOST else f"{text[: _MOST - 3]}..."


def shown_name(value: Any) -> str:
    """A name as it is, without quotes, if it is one to read; as :func:`shown` if it is no name."""
    return value if isinstance(value, str) and value.isprintable() and 0 < len(value) <= _MOST else shown(value)
