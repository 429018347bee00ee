"""One clear line about an argument that is wrong or missing."""

import re
from collections.abc import Iterable, Mapping, Sequence
from inspect import isclass, signature
from pydoc import locate
from typing import Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

from recipes._cli.usage import did_you_mean

_UNKNOWN_ARGUMENT = re.compile(r"(?:unrecognized arguments: --|does not accept option ')([\w.]+)")
_UNKNOWN_OPTION = re.compile(r"Option '([\w.]+)' is not accepted(?:. Got value: Namespace\(class_path='([\w.]+)')?")
_MISSING = re.compile(r"the following arguments are required: ([\w., ]+)")
_NO_MODULE = re.compile(r"No module named '([\w.]+)'")
_NO_ATTRIBUTE = re.compile(r"module '([\w.]+)' has no attribute '(\w+)'")
_CLASS_PATH = re.compile(r"given class_path '([\w.]+)'")
_CALLABLE = re.compile(r"Namespace\(class_path='([\w.]+)'")

_KEY = re.compile(r'( *).*Parser key "([\w.]+)":')
_NESTED = re.compile(r"Given value: NestedArg\(key='([\w.]+)', val=(.*)\)$", re.M)
_GIVEN = re.compile(r"(?:Given value|Got value): (.*?)(?:\. Got value: .*)?$", re.M)
_EXPECTED = re.compile(
    r"Expected an? (?:<class '([\w.]+)'>|(tuple with \d+ elements)|typing\.Literal\[(.+?)\](?:\.|$))", re.M
)
_UNKNOWN_CLASS = re.compile(r"Expected a dot import path string: (\w+)")
_WORDS = {
    "int": "an int",
    "float": "a float",
    "bool": "true or false",
    "str": "text",
    "dict": "a mapping such as '{name: value}'",
}
_LISTS = ("tuple", "list", "collections.abc.Iterable")

_RENAMED = {
    "branch_share": "it is now called 'branch_stage_fraction'",
    "begin_anew": "it is now called 'exclude'",
    "part": "it is now called 'submodule'",
    "only": "it is now called 'keep_attributes'",
    "colour": "it is now called 'color'",
    "sample_domain": "it is now called 'sample_domains', and takes a list",
    "num_sample_train": "use num_samples=[TRAIN,EVALUATION]",
    "num_sample_val": "use num_samples=[TRAIN,EVALUATION]",
    "rules": "it is now called 'lr_rules'",
    "on": "it is now called 'backend'",
    "overrides": "pass the options themselves",
}
"""Hints about arguments of earlier versions."""


def explain(message: str, types: Mapping[str, Any], classes: Iterable[type]) -> str:
    """Name the misspelled or missing argument, or the expected value; other messages stay unchanged.

    Args:
        message: The parser's message.
        types: Type of each argument of the parser, such as ``trainer.max_epochs``.
        classes: Classes that a configuration may name without their module.
    """
    if unknown := _UNKNOWN_ARGUMENT.search(message):
        return f"there is no argument {unknown[1]!r}{_close_or_all(unknown[1], types)}"
    if missing := _MISSING.search(message):
        owner = _last_class(message[: missing.start()])
        return f"{owner} needs {missing[1]}" if owner else f"--{missing[1].rpartition('.')[2]} is missing"
    refused = _find_refused(message, types)
    unknown = _UNKNOWN_OPTION.search(message)
    if unknown and not (refused and refused.is_reached and set(refused.kinds) - {"NoneType"}):
        path = unknown[2] or _last_class(message[: unknown.start()])
        known = list(signature(kind).parameters) if isclass(kind := locate(path)) else []
        return f"{path} has no argument {unknown[1]!r}{_close_or_all(unknown[1], known)}"
    if unknown := _NO_MODULE.search(message):
        return f"there is no module {unknown[1]!r}, neither installed nor in the current folder"
    if unknown := _NO_ATTRIBUTE.search(message):
        return (
            f"the module {unknown[1]!r} has no class {unknown[2]!r}{did_you_mean(unknown[2], _classes_of(unknown[1]))}"
        )
    return message if refused is None else _in_words(refused, classes) or message


def _classes_of(module: str) -> list[str]:
    return [name for name, value in vars(locate(module)).items() if isclass(value)]


class _Refused(NamedTuple):
    """An argument whose value does not fit."""

    key: str
    """Its name on the command line, such as ``data.batch_size``."""
    place: str
    """The innermost part of the name that the parser reports."""
    value: str
    kinds: list[str]
    """The expected types, in the parser's words."""
    unknown_class: str | None
    type: Any
    """The expected type, if it is known."""

    @property
    def is_reached(self) -> bool:
        """Whether the parser checked the value itself, not only the class that it is an argument of."""
        return self.key.rpartition(".")[2] == self.place.rpartition(".")[2]


def _find_refused(message: str, types: Mapping[str, Any]) -> _Refused | None:
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
    if typed and typed.startswith("[") and got and not got[1].startswith(("[", "Namespace", "NestedArg")):
        value = got[1]  # one element of a list
    unknown = _UNKNOWN_CLASS.search(text)
    name = innermost[2]
    hint = types.get(key) if len(keys) == 1 else _parameter_type(_owner(message, lines[:index]), name)
    kinds = [cls or length or f"one of {choices}" for cls, length, choices in _EXPECTED.findall(text)]
    return _Refused(key, name, value, kinds, unknown[1] if unknown else None, hint)


def _path(keys: Sequence[tuple[int, re.Match[str]]]) -> str:
    """The dotted name of the innermost key. The indentation shows which keys contain it."""
    path: list[re.Match[str]] = []
    for _, match in keys:
        path = [*(outer for outer in path if len(outer[1]) < len(match[1])), match]
    return ".".join(match[2] for match in path)


def _in_words(refused: _Refused, classes: Iterable[type]) -> str | None:
    """The line about a refused argument; ``None`` if the parser does not say what it expects."""
    parent, _, last = refused.key.rpartition(".")
    if not refused.is_reached:
        return f"{last!r} needs a class for {parent.rpartition('.')[2]!r}, which must come before it"
    kinds = [kind for kind in refused.kinds if kind != "NoneType"]
    if refused.unknown_class and not {"int", "float"} & set(kinds):
        bases = tuple(_classes_in(refused.type))
        known = {kind.__name__ for kind in classes if kind not in bases and (not bases or issubclass(kind, bases))}
        hint = _close_or_all(refused.unknown_class, known)
        return f"{refused.unknown_class!r} is neither a class of this library nor a dotted path to one{hint}"
    if any(kind in _LISTS or kind.startswith("tuple with") for kind in kinds):
        return _about_list(refused)
    words = list(dict.fromkeys(_WORDS.get(kind, kind) for kind in kinds))
    if not words:
        return None
    if refused.type is not None and _element_types(refused.type):
        return f"expected each value of {refused.key} as {' or '.join(words)}, got {refused.value}"
    return f"expected {refused.key} as {' or '.join(words)}, got {refused.value}"


def _about_list(refused: _Refused) -> str:
    """Explain how to write a list, with an example if the value can be corrected."""
    elements = _element_types(refused.type)
    length = None if not elements or ... in elements else len(elements)
    values = [value for value in re.split(r"[\s,;]+|(?<=\d)x(?=\d)", refused.value.strip("()[]{} ,")) if value]
    if length is not None and values:
        values = [*values, *[values[-1]] * length][:length]
    expected = f"{refused.key} as a list {'' if length is None else f'of {length} values '}in brackets"
    kinds = [elements[0]] * len(values) if ... in elements else elements
    fits = bool(values) and (not elements or all(map(_fits, values, kinds)))
    example = f", such as --{refused.key}='[{','.join(values)}]'" if fits else ""
    return f"expected {expected}{example}, got {refused.value}"


def _element_types(hint: Any) -> tuple[Any, ...]:
    """Types of the elements of a tuple or list, with ``...`` after a type that may repeat; empty for other types."""
    for kind in (hint, *get_args(hint)):
        if get_origin(kind) is tuple:
            return get_args(kind)
        if get_origin(kind) in (list, Sequence):
            return (*get_args(kind), ...)
    return ()


def _fits(text: str, kind: Any) -> bool:
    if get_origin(kind) is Literal:
        return text in map(str, get_args(kind))
    try:
        return kind is str or (kind in (int, float) and kind(text) is not None)
    except ValueError:
        return False


def _classes_in(hint: Any) -> list[type]:
    """The classes in a type, such as ``Callback`` in ``list[Callback] | None``."""
    if isclass(hint) and not get_args(hint):
        return [] if hint in (type(None), bool, int, float, str, dict) else [hint]
    return [kind for part in get_args(hint) for kind in _classes_in(part)]


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
    in_callable = bool(before) and "expects a function or a callable class" in message
    return callable_[-1] if in_callable and callable_ else _last_class("\n".join(before))


def _last_class(message: str) -> str:
    return ["", *_CLASS_PATH.findall(message)][-1]


def _close_or_all(name: str, known: Iterable[str]) -> str:
    """The new name of a renamed argument, the closest known name, or all known names if they are few."""
    if hints := [_RENAMED[part] for part in name.split(".") if part in _RENAMED]:
        return f"; {hints[0]}"
    known = sorted(known)
    few = f"; it takes {', '.join(known)}" if 0 < len(known) <= 20 else ""
    return did_you_mean(name, known) or few
