"""One clear line about an argument that is wrong or missing."""

import re
from collections.abc import Iterable, Mapping, Sequence
from inspect import isclass, signature
from pydoc import locate
from typing import Any, Literal, get_args, get_origin

from recipes._cli.jsonargparse_internals import (
    Refused,
    missing_arguments,
    missing_class,
    missing_module,
    refused_value,
    unknown_argument,
    unknown_option,
)
from recipes._cli.usage import did_you_mean

_WORDS = {
    "int": "an int",
    "float": "a float",
    "bool": "true or false",
    "str": "text",
    "dict": "a mapping such as '{name: value}'",
}

_RENAMED_ARGUMENTS = {
    "branch_share": ("branch_stage_fraction", "it is now called 'branch_stage_fraction'"),
    "begin_anew": ("exclude", "it is now called 'exclude'"),
    "part": ("submodule", "it is now called 'submodule'"),
    "only": ("keep_attributes", "it is now called 'keep_attributes'"),
    "colour": ("color", "it is now called 'color'"),
    "sample_domain": ("sample_domains", "it is now called 'sample_domains', and takes a list"),
    "num_sample_train": ("num_samples", "use num_samples=[TRAIN,EVALUATION]"),
    "num_sample_val": ("num_samples", "use num_samples=[TRAIN,EVALUATION]"),
}
"""New names of the arguments of classes in earlier versions, with hints for classes that have the new names."""

_RENAMED_OPTIONS = {
    "rules": "the option of sweep is now called 'lr_rules'",
    "on": "the option of sweep is now called 'backend'",
    "overrides": "pass the options themselves",
}
"""Hints about options of commands in earlier versions. A command may pass unknown options on to trainings, whose parser
does not know the new names, so the hints do not depend on them."""


def explain(message: str, types: Mapping[str, Any], classes: Iterable[type]) -> str:
    """Name the misspelled or missing argument, or the expected value; other messages stay unchanged.

    Args:
        message: The parser's message.
        types: Type of each argument of the parser, such as ``trainer.max_epochs``.
        classes: Classes that a configuration may name without their module.
    """
    if name := unknown_argument(message):
        hint = f"; {_RENAMED_OPTIONS[name]}" if name in _RENAMED_OPTIONS else _close_or_all(name, types)
        return f"there is no argument {name!r}{hint}"
    if missing := missing_arguments(message):
        owner, names = missing
        return f"{owner} needs {names}" if owner else f"--{names.rpartition('.')[2]} is missing"
    refused = refused_value(message, types)
    option = unknown_option(message)
    if option and not (refused and refused.is_reached and refused.kinds):
        path, name = option
        known = list(signature(kind).parameters) if isclass(kind := locate(path)) else []
        return f"{path} has no argument {name!r}{_new_name(name, known) or _close_or_all(name, known)}"
    if module := missing_module(message):
        return f"there is no module {module!r}, neither installed nor in the current folder"
    if absent := missing_class(message):
        module, name = absent
        return f"the module {module!r} has no class {name!r}{did_you_mean(name, _classes_of(module))}"
    return message if refused is None else _in_words(refused, classes) or message


def _classes_of(module: str) -> list[str]:
    return [name for name, value in vars(locate(module)).items() if isclass(value)]


def _in_words(refused: Refused, classes: Iterable[type]) -> str | None:
    """The line about a refused argument; ``None`` if the parser does not say what it expects."""
    parent, _, last = refused.key.rpartition(".")
    if not refused.is_reached:
        return f"{last!r} needs a class for {parent.rpartition('.')[2]!r}, which must come before it"
    if refused.unknown_class and not {"int", "float"} & set(refused.kinds):
        bases = tuple(_classes_in(refused.type))
        known = {kind.__name__ for kind in classes if kind not in bases and (not bases or issubclass(kind, bases))}
        hint = _close_or_all(refused.unknown_class, known)
        return f"{refused.unknown_class!r} is neither a class of this library nor a dotted path to one{hint}"
    if refused.expects_list:
        return _about_list(refused)
    words = list(dict.fromkeys(_WORDS.get(kind, kind) for kind in refused.kinds))
    if not words:
        return None
    if refused.type is not None and _element_types(refused.type):
        return f"expected each value of {refused.key} as {' or '.join(words)}, got {refused.value}"
    return f"expected {refused.key} as {' or '.join(words)}, got {refused.value}"


def _about_list(refused: Refused) -> str:
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


def _new_name(name: str, known: Iterable[str]) -> str:
    """The hint about an argument that has another name in this class now; empty for other arguments."""
    new_name, hint = _RENAMED_ARGUMENTS.get(name.partition(".")[0], ("", ""))  # without the keys of a mapping
    return f"; {hint}" if new_name in known else ""


def _close_or_all(name: str, known: Iterable[str]) -> str:
    """The closest known name, or all known names if they are few."""
    known = sorted(known)
    few = f"; it takes {', '.join(known)}" if 0 < len(known) <= 20 else ""
    return did_you_mean(name, known) or few
