"""Options on the command line that a later configuration overrides or drops."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

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


def dropped_options(args: Sequence[str], config: Mapping[str, Any]) -> list[str]:
    """A warning for each configuration or option that changes a class, if the new class lacks options before it.

    The parser drops such options silently. Those of the recipe's default configuration are not named, and those of
    other configurations only if a later configuration changes the class: an option that changes it is typed on purpose.

    Args:
        args: The command line, with the resolved paths of configurations.
        config: The parsed command line.
    """
    parsed = dict(_nodes(config))
    before: dict[str, str] = {}
    of_configs: set[str] = set()
    changes: dict[str, tuple[str, str]] = {}  # for a dropped option what changed its class, and to what
    for _, option, value in options_of(args):
        content = content_of(option, value)
        new = {_key(option.lstrip("-").removesuffix("+")): value}
        if content is not None:
            new = {name: "null" if leaf is None else str(leaf) for name, leaf in _leaves(content)}
        for key in before:
            owner = _class_without(key, parsed)
            if owner not in new or (content is None and key in of_configs):
                continue
            if key not in changes or not _is_same(changes[key][1], new[owner]):  # else it was dropped already
                changes[key] = (f"{option} {_shortened(value)}", new[owner])
        before |= new
        of_configs = of_configs - new.keys() if content is None else of_configs | new.keys()
    dropped: dict[str, list[str]] = {}
    for key, (change, _) in changes.items():
        new_class = parsed[str(_class_without(key, parsed))]["class_path"]
        dropped.setdefault(change, []).append(f"{key} ({_shortened(before[key])}), which {new_class} does not have")
    return [f"{change} drops options that come before it: {'; '.join(keys)}." for change, keys in dropped.items()]


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


def _class_without(key: str, parsed: Mapping[str, Any]) -> str | None:
    """Name of the class that lacks the option ``key``; ``None`` if the option is there or no class lacks it."""
    if key in parsed:
        return None
    owner = key
    while owner and owner not in parsed:
        owner = owner.rpartition(".")[0]
    return owner if isinstance(parsed[owner], Mapping) and "class_path" in parsed[owner] else None


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
