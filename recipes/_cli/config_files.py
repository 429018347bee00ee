"""Configuration files on the command line: where they are, whether they can be read, and what they undo.

Checked before the parser reads them, in bounded time and memory, and without importing anything heavy.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import yaml

from recipes._cli.recipe_files import recipe_of, shipped_configs
from recipes._cli.usage import refuse

OPTIONS = ("-c", "--config")
"""Options whose value is a configuration file."""

_GROUPS = ("--trainer", "--model", "--data")
"""Options whose value may be a configuration file of that part."""

_MAX_BYTES = 2**18
_MAX_VALUES = 100_000
"""Shipped files have 4 kB and 100 values."""
_MAX_LETTERS = 60
"""Of a value in a warning."""


def options_of(args: Sequence[str]) -> Iterator[tuple[int, str, str]]:
    """Place of the value, name and value of each option, in ``--name=value`` and in ``--name value``."""
    for index, word in enumerate(args):
        name, equals, value = word.partition("=")
        if not word.startswith("-"):
            continue
        if equals and word.startswith("--"):
            yield index, name, value
        elif index + 1 < len(args):
            yield index + 1, word, args[index + 1]


def find_configs(args: Sequence[str], defaults: Path, is_of_this_recipe: bool = True) -> list[str]:
    """Point each configuration to a file that can be read: in the current folder, else beside the recipe.

    Args:
        args: The command line; ``.yaml`` may be left out.
        defaults: The recipe's own configuration.
        is_of_this_recipe: Whether it is this recipe that reads them: another one looks for those that are not here
            itself.

    Raises:
        SystemExit: There is no such file, or it is no configuration.
    """
    found = list(args)
    for index, option, value in options_of(args):
        if option in OPTIONS and not is_inline(value):
            path = _find(value, defaults)
            if path is None and is_of_this_recipe:
                _refuse_unknown(value, defaults)
            if path is not None:
                found[index] = args[index].removesuffix(value) + str(path)
                read_config(path)
        elif option in _GROUPS and _is_file_of_a_part(value):
            read_config(Path(value))
    return found


def _refuse_unknown(name: str, defaults: Path) -> NoReturn:
    shipped = shipped_configs(defaults)
    new_name = f"{name.removesuffix('.yaml').removeprefix(f'{recipe_of(defaults)}_')}.yaml"
    if new_name in shipped:
        refuse(f"there is no configuration {name} any more: it is called {new_name} now")
    refuse(
        f"there is no configuration {name}, neither here nor beside the recipe, which comes with "
        f"{', '.join(shipped) or 'no other one'}"
    )


def is_inline(value: str) -> bool:
    """Whether the value of ``-c`` is a configuration itself, such as ``{trainer: {max_epochs: 3}}``."""
    return ":" in value and not _exists(Path(value))


def _find(name: str, defaults: Path) -> Path | None:
    beside = defaults.parent / name
    paths = (Path(name), beside, Path(f"{name}.yaml"), beside.with_name(f"{beside.name}.yaml"))
    return next(filter(_exists, paths), None)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # too long for a name, or with a NUL
        return False


def read_config(path: Path) -> Mapping[str, Any]:
    """Content of a YAML file.

    Raises:
        SystemExit: It is no regular file, no UTF-8, no YAML, no mapping, or too large once its aliases are replaced.
    """
    if not path.is_file():
        refuse(f"expected {path} to be a YAML file, got a {'folder' if path.is_dir() else 'pipe or a device'}")
    try:
        if path.stat().st_size > _MAX_BYTES:
            refuse(f"expected {path} to be a configuration of at most {_MAX_BYTES:,} bytes, got a larger file")
        text = path.read_text(encoding="utf-8")
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        if root is not None and _num_values(root, {}) > _MAX_VALUES:
            refuse(f"expected {path} to have at most {_MAX_VALUES:,} values, got more once its aliases are replaced")
        content = {} if root is None else yaml.safe_load(text)
    except OSError as error:
        refuse(f"{path} cannot be read: {error.strerror}")
    except UnicodeDecodeError as error:
        refuse(f"expected {path} to be text in UTF-8, got byte {text_byte(error)}: save it as UTF-8")
    except yaml.MarkedYAMLError as error:
        place = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        refuse(f"expected {path} to be YAML, got a fault in {place}{error.problem}")
    except RecursionError:
        refuse(f"expected {path} to be a configuration, got a value that is nested too deeply or contains itself")
    except (yaml.YAMLError, ValueError) as error:  # such as a number of 5,000 digits
        refuse(f"expected {path} to be YAML, got a fault: {str(error).splitlines()[0]}")
    if not isinstance(content, Mapping):
        refuse(f"expected {path} to hold options by name, such as `trainer:`, got a {type(content).__name__}")
    return content


def text_byte(error: UnicodeDecodeError) -> str:
    """The byte that is no UTF-8, and where it is."""
    return f"{error.object[error.start]:#04x} at position {error.start}"


def _num_values(node: yaml.Node, known: dict[int, int]) -> int:
    """Number of values below a node, those of an alias each time that it stands there."""
    if id(node) in known:
        if known[id(node)] == 0:
            raise RecursionError
        return known[id(node)]
    known[id(node)] = 0  # until it is counted
    children = node.value if isinstance(node, yaml.CollectionNode) else []
    flat = [part for child in children for part in (child if isinstance(child, tuple) else (child,))]
    known[id(node)] = 1 + sum(_num_values(child, known) for child in flat)
    return known[id(node)]


def undone_options(args: Sequence[str]) -> list[str]:
    """A warning for each configuration that changes what an option before it had set.

    Args:
        args: The command line as it was typed, but for the configurations, which were found.
    """
    given: dict[str, str] = {}
    warnings = []
    for _, option, value in options_of(args):
        content = _content(option, value)
        if content is None:
            given[_key(option.lstrip("-").removesuffix("+"))] = value
            continue
        changes = [
            f"{key} ({given[key]} becomes {_shortened('null' if new is None else str(new))})"
            for name, new in _leaves(content)
            for key in list(given)
            if _is_undone(key, given[key], name, new)
        ]
        if changes:
            changed, name = ", ".join(changes), "-c" if option in OPTIONS else option
            warnings.append(
                f"{name} {value} undoes options that stand before it: {changed}. Put {name} first to keep them."
            )
    return warnings


def _content(option: str, value: str) -> Mapping[str, Any] | None:
    """What an option brings as a configuration, in a file or itself; ``None`` of any other option."""
    if option in _GROUPS and _is_file_of_a_part(value):
        return {option.lstrip("-"): read_config(Path(value))}
    if option not in OPTIONS:
        return None
    if _exists(Path(value)):
        return read_config(Path(value))
    try:
        content = yaml.safe_load(value)
    except yaml.YAMLError:  # which the parser says
        return {}
    return content if isinstance(content, Mapping) else {}


def _is_file_of_a_part(value: str) -> bool:
    return Path(value).suffix in (".yaml", ".yml") and _exists(Path(value))


def _shortened(value: str) -> str:
    return value if len(value) <= _MAX_LETTERS else f"{value[:_MAX_LETTERS]}…"


def _is_undone(key: str, given: str, name: str, new: Any) -> bool:
    if key == name:
        return not _is_same(given, new)
    return key.startswith(f"{name}.") and (new is None or isinstance(new, list))  # its parent is replaced


def _leaves(content: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Options that a configuration sets, named as on the command line."""
    if not isinstance(content, Mapping):
        yield key, content
        return
    for name, value in content.items():
        if not str(name).endswith("+"):  # which adds to a list
            yield from _leaves(value, _key(f"{key}.{name}" if key else str(name)))


def _key(name: str) -> str:
    """An option without the words that the command line may leave out; a class is named by what it is of."""
    return ".".join(part for part in name.split(".") if part not in ("init_args", "class_path"))


def _is_same(text: str, value: Any) -> bool:
    if isinstance(value, str):
        return text.rpartition(".")[2] == value.rpartition(".")[2]  # a class may be named without its module
    try:
        return yaml.safe_load(text) == value or float(text) == value
    except (yaml.YAMLError, ValueError):
        return False
