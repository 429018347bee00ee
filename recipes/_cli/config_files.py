"""Configuration files on the command line: their paths, their contents, and whether they are readable.

The files are checked before the parser reads them, in bounded time and memory and without heavy imports.
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
"""Options whose value may be a configuration file for that part."""

_MAX_BYTES = 2**18
_MAX_VALUES = 100_000
"""Limits for a file. For comparison, shipped files have 4 kB and 100 values."""


def options_of(args: Sequence[str]) -> Iterator[tuple[int, str, str]]:
    """For each option the index of the word with its value, its name and its value.

    Both ``--name=value`` and ``--name value`` are read.
    """
    for index, word in enumerate(args):
        name, equals, value = word.partition("=")
        if not word.startswith("-"):
            continue
        if equals and word.startswith("--"):
            yield index, name, value
        elif index + 1 < len(args):
            yield index + 1, word, args[index + 1]


def find_configs(args: Sequence[str], defaults: Path, is_of_this_recipe: bool = True) -> list[str]:
    """Replace the name of each configuration by the path of a readable file.

    The file is searched in the current folder, then in the recipe's folder.

    Args:
        args: The command line; the suffix ``.yaml`` may be omitted.
        defaults: The recipe's own configuration.
        is_of_this_recipe: Whether this recipe reads the configurations. If another recipe reads them, files that are
            missing here are left for that recipe to find.

    Raises:
        SystemExit: A file does not exist or is not a configuration.
    """
    resolved = list(args)
    for index, option, value in options_of(args):
        if option in OPTIONS and not is_inline(value):
            path = _find(value, defaults)
            if path is None and is_of_this_recipe:
                _refuse_unknown(value, defaults)
            if path is not None:
                resolved[index] = args[index].removesuffix(value) + str(path)
                read_config(path)
        elif option in _GROUPS and _is_file_of_a_part(value):
            read_config(Path(value))
    return resolved


def _refuse_unknown(name: str, defaults: Path) -> NoReturn:
    shipped = shipped_configs(defaults)
    new_name = f"{name.removesuffix('.yaml').removeprefix(f'{recipe_of(defaults)}_')}.yaml"
    if new_name in shipped:
        refuse(f"there is no configuration {name} any more; it is now called {new_name}")
    refuse(
        f"there is no configuration {name} in the current folder or in the recipe's folder; the recipe's "
        f"configurations are {', '.join(shipped) or 'only the default one'}"
    )


def is_inline(value: str) -> bool:
    """Whether the value of ``-c`` is an inline configuration, such as ``{trainer: {max_epochs: 3}}``."""
    return ":" in value and not _exists(Path(value))


def _find(name: str, defaults: Path) -> Path | None:
    beside = defaults.parent / name
    paths = (Path(name), beside, Path(f"{name}.yaml"), beside.with_name(f"{beside.name}.yaml"))
    return next(filter(_exists, paths), None)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a name that is too long or contains a NUL
        return False


def read_config(path: Path) -> Mapping[str, Any]:
    """Content of a YAML file.

    Raises:
        SystemExit: The file is not a regular file, UTF-8, YAML or a mapping, or it is too large once its aliases are
            replaced.
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
        refuse(f"expected {path} to be YAML, got an error in {place}{error.problem}")
    except RecursionError:
        refuse(f"expected {path} to be a configuration, got a value that is nested too deeply or contains itself")
    except (yaml.YAMLError, ValueError) as error:  # such as an integer with 5,000 digits
        refuse(f"expected {path} to be YAML, got an error: {str(error).splitlines()[0]}")
    if not isinstance(content, Mapping):
        refuse(f"expected {path} to contain options by name, such as `trainer:`, got a {type(content).__name__}")
    return content


def text_byte(error: UnicodeDecodeError) -> str:
    """The byte that is not valid UTF-8, and its position."""
    return f"{error.object[error.start]:#04x} at position {error.start}"


def _num_values(node: yaml.Node, known: dict[int, int]) -> int:
    """Number of values below a node. The values of an alias count each time that it occurs."""
    if id(node) in known:
        if known[id(node)] == 0:
            raise RecursionError
        return known[id(node)]
    known[id(node)] = 0  # until the count is known
    children = node.value if isinstance(node, yaml.CollectionNode) else []
    flat = [part for child in children for part in (child if isinstance(child, tuple) else (child,))]
    known[id(node)] = 1 + sum(_num_values(child, known) for child in flat)
    return known[id(node)]


def content_of(option: str, value: str) -> Mapping[str, Any] | None:
    """The configuration that an option gives, as a file or inline; ``None`` for any other option."""
    if option in _GROUPS and _is_file_of_a_part(value):
        return {option.lstrip("-"): read_config(Path(value))}
    if option not in OPTIONS:
        return None
    if _exists(Path(value)):
        return read_config(Path(value))
    try:
        content = yaml.safe_load(value)
    except yaml.YAMLError:  # the parser reports it
        return {}
    return content if isinstance(content, Mapping) else {}


def _is_file_of_a_part(value: str) -> bool:
    return Path(value).suffix in (".yaml", ".yml") and _exists(Path(value))
