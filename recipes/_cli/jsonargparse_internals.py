"""What only private interfaces and error texts of jsonargparse say about arguments.

Its errors have no fields: which argument was wrong, its value and the expected type stand in their text alone. So all
patterns of these texts are in this file. ``tests/upgrade/test_jsonargparse.py`` checks them on wrong arguments.
"""

import re
from collections.abc import Mapping, Sequence
from inspect import isclass
from pydoc import locate
from typing import Any, NamedTuple, get_type_hints

from jsonargparse import ArgumentParser

_UNKNOWN_ARGUMENT = re.compile(r"(?:unrecognized arguments: --|does not accept option ')([\w.]+)")
_UNKNOWN_OPTION = re.compile(r"Option '([\w.]+)' is not accepted(?:. Got value: Namespace\(class_path='([\w.]+)')?")
_MISSING = re.compile(r"the following arguments are required: ([\w., ]+)")
_NO_MODULE = re.compile(r"No module named '([\w.]+)'")
_NO_ATTRIBUTE = re.compile(r"module '([\w.]+)' has no attribute '(\w+)'")
_CLASS_PATH = re.compile(r"given class_path '([\w.]+)'")
_CALLABLE = re.compile(r"Namespace\(class_path='([\w.]+)'")
_IN_CALLABLE = "expects a function or a callable class"

_KEY = re.compile(r'( *).*Parser key "([\w.]+)":')
_NESTED = re.compile(r"Given value: NestedArg\(key='([\w.]+)', val=(.*)\)$", re.M)
_GIVEN = re.compile(r"(?:Given value|Got value): (.*?)(?:\. Got value: .*)?$", re.M)
_NOT_AN_ELEMENT = ("[", "Namespace", "NestedArg")
_EXPECTED = re.compile(
    r"Expected an? (?:<class '([\w.]+)'>|(tuple with \d+ elements)|typing\.Literal\[(.+?)\](?:\.|$))", re.M
)
_UNKNOWN_CLASS = re.compile(r"Expected a dot import path string: (\w+)")
_NONE = "NoneType"
_LISTS = ("tuple", "list", "collections.abc.Iterable")


def types_of_arguments(parser: ArgumentParser) -> dict[str, Any]:
    """The type of each argument of a parser by its name; no public method lists the arguments."""
    return {
        option.lstrip("-"): getattr(action, "_typehint", None)
        for action in parser._actions
        for option in action.option_strings
    }


def parser_of_error(error: Exception | None, parser: ArgumentParser) -> ArgumentParser:
    """The parser of the command that an error is about, which only a private attribute of the error says."""
    return getattr(error, "subcommand_parser", None) or parser


def unknown_argument(message: str) -> str | None:
    """The argument that the parser does not have."""
    unknown = _UNKNOWN_ARGUMENT.search(message)
    return unknown and unknown[1]


def unknown_option(message: str) -> tuple[str, str] | None:
    """Path of a class, and the argument that it does not have."""
    unknown = _UNKNOWN_OPTION.search(message)
    return unknown and (unknown[2] or _last_class(message[: unknown.start()]), unknown[1])


def missing_arguments(message: str) -> tuple[str, str] | None:
    """Path of a class, or an empty string for the command itself, and the names of the arguments that it lacks."""
    missing = _MISSING.search(message)
    return missing and (_last_class(message[: missing.start()]), missing[1])


def missing_module(message: str) -> str | None:
    """The module of a class path that cannot be imported."""
    missing = _NO_MODULE.search(message)
    return missing and missing[1]


def missing_class(message: str) -> tuple[str, str] | None:
    """Module of a class path, and the name that it does not have."""
    missing = _NO_ATTRIBUTE.search(message)
    return missing and (missing[1], missing[2])


class Refused(NamedTuple):
    """An argument whose value does not fit."""

    key: str
    """Its name on the command line, such as ``data.batch_size``."""
    place: str
    """The innermost part of the name that the parser reports."""
    value: str
    kinds: list[str]
    """The expected types other than ``None``, in the parser's words."""
    unknown_class: str | None
    type: Any
    """The expected type, if it is known."""

    @property
    def is_reached(self) -> bool:
        """Whether the parser checked the value itself, not only the class that it is an argument of."""
        return self.key.rpartition(".")[2] == self.place.rpartition(".")[2]

    @property
    def expects_list(self) -> bool:
        """Whether a list or a tuple is expected."""
        return any(kind in _LISTS or kind.startswith("tuple with") for kind in self.kinds)


def refused_value(message: str, types: Mapping[str, Any]) -> Refused | None:
    """The argument whose value does not fit.

    Args:
        message: The parser's message.
        types: Type of each argument of the parser, such as ``trainer.max_epochs``.
    """
    lines = message.splitlines()
    keys = [(index, match) for index, line in enumerate(lines) if (match := _KEY.match(line))]
    if not keys:
        return None
    index, innermost = keys[-1]
    block = [lines[index][innermost.end() :]]
    for line in lines[index + 1 :]:
        if line.strip() and len(line) - len(line.lstrip()) <= len(innermost[1]):
            break
        block.append(line)
    text = "\n".join(block)
    nested = _NESTED.findall(message)
    # an argument of the command line, or nested keys of a configuration
    key, typed = (f"{keys[0][1][2]}.{nested[-1][0]}", nested[-1][1]) if nested else (_path(keys), None)
    got = _GIVEN.search(text)
    value = typed.strip("'\"") if typed else got[1] if got else ""
    if typed and typed.startswith("[") and got and not got[1].startswith(_NOT_AN_ELEMENT):
        value = got[1]  # one element of a list
    unknown = _UNKNOWN_CLASS.search(text)
    name = innermost[2]
    hint = types.get(key) if len(keys) == 1 else _parameter_type(_owner(message, lines[:index]), name)
    kinds = [cls or length or f"one of {choices}" for cls, length, choices in _EXPECTED.findall(text)]
    return Refused(key, name, value, [kind for kind in kinds if kind != _NONE], unknown[1] if unknown else None, hint)


def _path(keys: Sequence[tuple[int, re.Match[str]]]) -> str:
    """The dotted name of the innermost key. The indentation shows which keys contain it."""
    path: list[re.Match[str]] = []
    for _, match in keys:
        path = [*(outer for outer in path if len(outer[1]) < len(match[1])), match]
    return ".".join(match[2] for match in path)


def _parameter_type(owner: str, name: str) -> Any:
    kind = locate(owner) if owner else None
    if not isclass(kind):
        return None
    try:
        return get_type_hints(kind.__init__).get(name)
    except (NameError, TypeError):
        return None


def _owner(message: str, before: Sequence[str]) -> str:
    """Path of the class whose argument was refused."""
    callable_ = _CALLABLE.findall(message)
    in_callable = bool(before) and _IN_CALLABLE in message
    return callable_[-1] if in_callable and callable_ else _last_class("\n".join(before))


def _last_class(message: str) -> str:
    return ["", *_CLASS_PATH.findall(message)][-1]
