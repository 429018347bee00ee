"""Checks of the values of arguments. They raise errors that name the argument, the expectation and the value."""

from collections.abc import Sequence
from numbers import Integral
from typing import Any


def check_at_least(least: float, **values: float) -> None:
    """Raise ``ValueError`` unless each value is at least ``least``; NaN is not.

    Args:
        least: Smallest allowed value.
        values: Values by the names of their arguments.
    """
    for name, value in values.items():
        if not value >= least:
            raise ValueError(f"expected {name} of at least {least}, got {value}")


def check_whole_at_least(least: int, **values: Any) -> None:
    """Raise ``ValueError`` unless each value, such as one from a file, is a whole number of at least ``least``.

    Args:
        least: Smallest allowed value.
        values: Values by the names of their arguments.
    """
    for name, value in values.items():
        if not isinstance(value, Integral):
            raise ValueError(f"expected a whole number as {name}, got {value!r}")
        check_at_least(least, **{name: value})  # pyright: ignore[reportArgumentType]


def check_pair(**values: Any) -> None:
    """Raise ``ValueError`` unless each value, such as one from a file, is a sequence of two.

    Args:
        values: Values by the names of their arguments.
    """
    for name, value in values.items():
        if not isinstance(value, Sequence) or isinstance(value, str) or len(value) != 2:
            raise ValueError(f"expected two numbers as {name}, got {value!r}")


def check_names(**values: Any) -> None:
    """Raise ``ValueError`` unless each value is a sequence of one or more names, and not a single name.

    Args:
        values: Values by the names of their arguments.
    """
    for name, value in values.items():
        if not isinstance(value, Sequence) or isinstance(value, str) or not value:
            raise ValueError(f"expected {name} as a list of names, got {value!r}")
