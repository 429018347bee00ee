"""Checks of the values of arguments. They raise errors that name the argument, the expectation and the value."""

from collections.abc import Sequence
from numbers import Integral
from typing import Any


def check_at_least(least: float, /, **values: float) -> None:
    """Raise ``ValueError`` unless each value is at least ``least``; NaN is not.

    Args:
        least: Smallest allowed value.
        values: Values by the names of their arguments.
    """
    for name, value in values.items():
        if not value >= least:
            raise ValueError(f"expected {name} of at least {least}, got {value}")


def check_whole_at_least(least: int, /, **values: Any) -> None:
    """Raise ``ValueError`` unless each value is a whole number of at least ``least``; ``True`` is not a number.

    Args:
        least: Smallest allowed value.
        values: Values by the names of their arguments.
    """
    for name, value in values.items():
        if not _is_whole(value):
            raise ValueError(f"expected a whole number as {name}, got {value!r}")
        check_at_least(least, **{name: value})


def check_share(**values: float) -> None:
    """Raise ``ValueError`` unless each value is within [0, 1]; NaN is not.

    Args:
        values: Values by the names of their arguments.
    """
    for name, value in values.items():
        if not 0 <= value <= 1:
            raise ValueError(f"expected {name} within [0, 1], got {value}")


def check_pair(**values: Any) -> None:
    """Raise ``ValueError`` unless each value is a sequence of two whole numbers of at least 1, such as a size.

    Args:
        values: Values by the names of their arguments.
    """
    for name, value in values.items():
        is_pair = isinstance(value, Sequence) and len(value) == 2
        if not (is_pair and all(_is_whole(number) and number >= 1 for number in value)):
            raise ValueError(f"expected two whole numbers of at least 1 as {name}, got {value!r}")


def check_names(**values: Any) -> None:
    """Raise ``ValueError`` unless each value is a sequence of one or more names, and not a single name.

    Args:
        values: Values by the names of their arguments.
    """
    for name, value in values.items():
        if not isinstance(value, Sequence) or isinstance(value, str) or not value:
            raise ValueError(f"expected {name} as a list of names, got {value!r}")


def _is_whole(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)
