"""Options on the command line that a later configuration overrides or drops."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import yaml

from recipes._cli.config_files import OPTIONS, content_of, options_of

_MAX_LETTERS = 60
"""Longest value that a warning shows in full."""
_OMITTED = ("class_path", "init_args", "dict_kwargs")
"""Parts of a configuration that the name of an option may omit."""


def undone_options(args: Sequence[str]) -> list[str]:
    """A warning for each configuration that overrides an option before it.

    Args:
        args: The command line, with the resolved paths of configurations.
    """
    set_before: dict[str, str] = {}
    warnings = []
    for _, option, value in options_of(args):
        content = content_of(option, value)
        if content is None:
            set_before[_key(option.lstrip("-").removesuffix("+"))] = value
            continue
        changes = [
            f"{key} ({set_before[key]} becomes {_shortened('null' if new is None else str(new))})"
            for name, new in _leaves(content)
            for key in list(set_before)
            if _is_undone(key, set_before[key], name, new)
        ]
        if changes:
            changed, name = ", ".join(changes), "-c" if option in OPTIONS else option
            warnings.append(
                f"{name} {value} overrides options that come before it: {changed}. Put {name} first to keep them."
            )
    return warnings


class _Step(NamedTuple):
    """What one option or configuration of the command line sets."""

    name: str
    """The option and its value, as a warning shows them."""
    values: Mapping[str, str]
    """New values by the names of the options."""
    is_config: bool


def dropped_options(args: Sequence[str], config: Mapping[str, Any]) -> list[str]:
    """A warning for each configuration or option that changes a class, if options before it are lost thereby.

    The parser says nothing about options that a new class lacks, and they stay lost if the old class comes back.
    Options of the recipe's default configuration are not named. Those of other configurations are named only if a later
    configuration changes the class, because a typed option changes it on purpose.

    Args:
        args: The command line, with the resolved paths of configurations.
        config: The parsed command line.
    """
    parsed = dict(_nodes(config))
    steps = list(_steps(args))
    last_steps = {key: index for index, step in enumerate(steps) for key in step.values}
    dropped: dict[str, list[str]] = {}
    for key, index in last_steps.items():
        own = steps[index]
        later = [step for step in steps[index + 1 :] if step.is_config or not own.is_config]
        if loss := _loss(key, own.values[key], later, parsed):
            dropped.setdefault(loss[0], []).append(loss[1])
    return [f"{change} drops options that come before it: {'; '.join(keys)}." for change, keys in dropped.items()]


def _steps(args: Sequence[str]) -> Iterator[_Step]:
    for _, option, value in options_of(args):
        content = content_of(option, value)
        values = {_key(option.lstrip("-").removesuffix("+")): value}
        if content is not None:
            values = {name: "null" if leaf is None else str(leaf) for name, leaf in _leaves(content)}
        yield _Step(f"{option} {_shortened(value)}", values, content is not None)


def _loss(key: str, value: str, later: Sequence[_Step], parsed: Mapping[str, Any]) -> tuple[str, str] | None:
    """The step that drops an option, and a description of the option; ``None`` if the option is kept.

    Args:
        key: Name of the option.
        value: Its last value on the command line.
        later: The steps after it that may drop it.
        parsed: All values of the parsed command line.
    """
    if (owner := _owner_that_lacks(key, parsed)) is not None:
        changes = [step for step in later if owner in step.values]
        while len(changes) > 1 and _is_same(changes[-2].values[owner], changes[-1].values[owner]):
            changes.pop()  # the class was the same before
        lost = f"{key} ({_shortened(value)}), which {parsed[owner]['class_path']} does not have"
        return (changes[-1].name, lost) if changes else None
    if key not in parsed or _is_same(value, actual := _class_or_value(parsed[key])):
        return None
    for step in later:
        for owner in sorted(_owners(key, parsed) & step.values.keys()):
            if not _is_same(step.values[owner], parsed[owner]["class_path"]):  # the class came back after this step
                values = f"{_shortened(value)} becomes {_shortened(str(actual))}"
                return step.name, f"{key} ({values}), because {owner} became {step.values[owner]}"
    return None


def is_typed(name: str, args: Sequence[str]) -> bool:
    """Whether the command line or one of its configurations sets an option.

    Args:
        name: Name of the option, such as ``model.init_args.net.init_args.num_classes``.
        args: The command line, with the resolved paths of configurations.
    """
    for _, option, value in options_of(args):
        content = content_of(option, value)
        names = [_key(option.lstrip("-"))] if content is None else [name for name, _ in _leaves(content)]
        if _key(name) in names:
            return True
    return False


def _nodes(config: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """All values of a parsed configuration, and the mappings that contain them, by their names on the command line."""
    yield key, config
    if isinstance(config, Mapping):
        for name, value in config.items():
            if name in _OMITTED:
                yield from (pair for pair in _nodes(value, key) if pair[0] != key)
            else:
                yield from _nodes(value, f"{key}.{name}" if key else str(name))


def _owner_that_lacks(key: str, parsed: Mapping[str, Any]) -> str | None:
    """Name of the class that lacks the option ``key``; ``None`` if the option is there or no class lacks it."""
    if key in parsed:
        return None
    owner = key
    while owner and owner not in parsed:
        owner = owner.rpartition(".")[0]
    return owner if _is_class(parsed[owner]) else None


def _owners(key: str, parsed: Mapping[str, Any]) -> set[str]:
    """Names of the classes that contain the option ``key``."""
    return {name for name, value in parsed.items() if key.startswith(f"{name}.") and _is_class(value)}


def _is_class(value: Any) -> bool:
    return isinstance(value, Mapping) and "class_path" in value


def _class_or_value(value: Any) -> Any:
    """A parsed value as it is written on the command line, where a class is its path alone."""
    value = value["class_path"] if _is_class(value) else value
    return list(value) if isinstance(value, tuple) else value


def _shortened(value: str) -> str:
    return value if len(value) <= _MAX_LETTERS else f"{value[:_MAX_LETTERS]}…"


def _is_undone(key: str, earlier: str, name: str, new: Any) -> bool:
    if key == name:
        return not _is_same(earlier, new)
    return key.startswith(f"{name}.") and (new is None or isinstance(new, list))  # its parent is replaced


def _leaves(content: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Options that a configuration sets, with their names on the command line."""
    if not isinstance(content, Mapping):
        yield key, content
        return
    for name, value in content.items():
        if not str(name).endswith("+"):  # such a name adds to a list
            yield from _leaves(value, _key(f"{key}.{name}" if key else str(name)))


def _key(name: str) -> str:
    """Name of an option without the parts that may be omitted on the command line."""
    return ".".join(part for part in name.split(".") if part not in _OMITTED)


def _is_same(text: str, value: Any) -> bool:
    if isinstance(value, str):
        return text.rpartition(".")[2] == value.rpartition(".")[2]  # the module of a class may be omitted
    try:
        return yaml.safe_load(text) == value or float(text) == value
    except (yaml.YAMLError, ValueError):
        return False
