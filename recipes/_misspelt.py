"""One clear line about an argument that a recipe refuses or misses."""

import difflib
import re
from collections.abc import Iterable
from inspect import signature
from pydoc import locate

_UNKNOWN_ARGUMENT = re.compile(r"(?:unrecognized arguments: --|does not accept option ')([\w.]+)")
_UNKNOWN_OPTION = re.compile(r"Option '([\w.]+)' is not accepted(?:. Got value: Namespace\(class_path='([\w.]+)')?")
_UNKNOWN_CLASS = re.compile(r"Expected a dot import path string: (\w+)")
_MISSING = re.compile(r"the following arguments are required: ([\w, ]+)")
_NO_MODULE = re.compile(r"No module named '([\w.]+)'")
_NO_CLASS_YET = re.compile(r"Given value: NestedArg\(key='([\w.]+)\.(\w+)'")
_REFUSED = re.compile(r'Parser key "(\w+)":\s+Expected an? (.+?)\. Got value: (.*?)(?:\. Got value:|$)', re.M)
_CHOICES = re.compile(r"typing\.Literal\[(.+)\]")
_NO_LIST = re.compile(r'Parser key "([\w.]+)":\s+Expected a <class \'(?:tuple|list)\'>\. Got value: (.*)')
_CLASS_PATH = re.compile(r"given class_path '([\w.]+)'")


def explain(message: str, arguments: Iterable[str], classes: Iterable[str]) -> str:
    """Say which name is misspelt or missing, and what was probably meant; other messages stay as they are.

    Args:
        message: What the parser says.
        arguments: The arguments it knows, such as ``trainer.max_epochs``.
        classes: Short names of the classes that configurations may name.
    """
    if unknown := _UNKNOWN_ARGUMENT.search(message):
        return f"there is no argument {unknown[1]!r}{_did_you_mean(unknown[1], arguments)}"
    if (missing := _MISSING.search(message)) and (path := _last_class(message[: missing.start()])):
        return f"{path} needs {missing[1]}"
    if unknown := _UNKNOWN_OPTION.search(message):
        path = unknown[2] or _last_class(message[: unknown.start()])
        known = list(signature(kind).parameters) if isinstance(kind := locate(path), type) else []
        return f"{path} has no argument {unknown[1]!r}{_did_you_mean(unknown[1], known)}"
    if unknown := _UNKNOWN_CLASS.search(message):
        hint = _did_you_mean(unknown[1], classes)
        return f"{unknown[1]!r} is neither a class of this library nor a dotted path to one{hint}"
    if unknown := _NO_MODULE.search(message):
        return f"there is no module {unknown[1]!r}, neither installed nor where this runs"
    if nested := _NO_CLASS_YET.search(message):
        for name, kind, given in _REFUSED.findall(message):
            if name == nested[2]:  # the class was there
                return f"expected {name!r} {_as_words(kind)}, got {given}"
        return f"{nested[2]!r} needs a class for {nested[1]!r} before it"
    if value := _NO_LIST.search(message):
        name, given = value.groups()
        return f"expected {name} as a list in brackets, such as --{name}='[{given.strip(',')}]', got {given}"
    return message


def _as_words(kind: str) -> str:
    if choices := _CHOICES.fullmatch(kind):
        return f"as one of {choices[1]}"
    name = kind.removeprefix("<class '").removesuffix("'>")
    return f"of the type {name}"


def _last_class(message: str) -> str:
    return ["", *_CLASS_PATH.findall(message)][-1]


def _did_you_mean(name: str, known: Iterable[str]) -> str:
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=1)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; it takes {', '.join(known)}" if 0 < len(known) <= 20 else ""
