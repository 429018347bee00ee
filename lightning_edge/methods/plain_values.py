"""Values that any reader of checkpoints can load, and which arguments of a constructor have such values."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any


def plain_arguments(kind: type, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The plain arguments by name, with defaults, of a call of a class. Arguments in ``*args`` have no names.

    Raises:
        TypeError: The class does not have these arguments.
    """
    bound = inspect.signature(kind).bind_partial(*args, **kwargs)
    bound.apply_defaults()
    arguments = dict(bound.arguments)
    for name, parameter in bound.signature.parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:  # a subclass may pass on arguments that it does not name
            arguments |= arguments.pop(name)
        elif parameter.kind is parameter.VAR_POSITIONAL:
            del arguments[name]
    return plain_values(arguments)


def plain_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """Select the values that any reader of checkpoints can load, by name."""
    return {name: value for name, value in values.items() if is_plain(value)}


def is_plain(value: Any) -> bool:
    """Whether ``value`` is None, a number, a string, or a list, tuple or dict of these; subclasses do not count."""
    if type(value) is dict:
        return all(is_plain(item) for pair in value.items() for item in pair)
    if type(value) in (list, tuple):
        return all(is_plain(item) for item in value)
    return value is None or type(value) in (bool, int, float, str)
