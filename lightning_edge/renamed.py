"""Old names of public classes, functions and arguments, which keep working for one release."""

import importlib
import inspect
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any

_ARGUMENTS = {
    "lightning_edge.methods.accel.Accel": {"branch_share": "branch_stage_fraction"},
    "lightning_edge.nn.dynamic.ddn.CondConvNet": {"part": "submodule"},
    "lightning_edge.nn.dynamic.ddn.DomainNet": {"part": "submodule"},
}
"""New names of the arguments of classes and of their subclasses, by the class and the old name."""


def with_new_arguments(class_path: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    """Give renamed arguments in a checkpoint their new names, also those of nested classes.

    Args:
        class_path: Path of the class that takes the arguments.
        arguments: Its arguments as a recipe saved them, where a class is a ``class_path`` with ``init_args``.

    Returns:
        The arguments, which are the same object if no name has changed.
    """
    try:
        return _renamed(class_path, arguments)
    except RecursionError:  # values of a malicious file may contain themselves
        return arguments


def _renamed(class_path: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    new_names = _new_names(class_path)
    renamed = {new_names.get(name, name): _with_new_arguments(value) for name, value in arguments.items()}
    return arguments if _is_unchanged(renamed.items(), arguments.items()) else renamed


def _with_new_arguments(value: Any) -> Any:
    if isinstance(value, Mapping) and isinstance(value.get("init_args"), Mapping):
        init_args = _renamed(str(value.get("class_path")), value["init_args"])
        return value if init_args is value["init_args"] else {**value, "init_args": init_args}
    if isinstance(value, Mapping):
        items = {name: _with_new_arguments(item) for name, item in value.items()}
        return value if _is_unchanged(items.items(), value.items()) else items
    if type(value) in (list, tuple):
        items = [_with_new_arguments(item) for item in value]
        return value if _is_unchanged(enumerate(items), enumerate(value)) else type(value)(items)
    return value


def _is_unchanged(new: Iterable[tuple[Any, Any]], old: Iterable[tuple[Any, Any]]) -> bool:
    return all(a[0] == b[0] and a[1] is b[1] for a, b in zip(new, old, strict=True))


def _new_names(class_path: str) -> dict[str, str]:
    """New names by old names, except where the class itself still has an argument of the old name."""
    kind = _loaded_class(class_path)
    if kind is None:
        return {}
    names: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        names |= _ARGUMENTS.get(f"{base.__module__}.{base.__qualname__}", {})
    own = inspect.signature(kind).parameters if names else {}
    return {old: new for old, new in names.items() if old not in own}


def _loaded_class(path: str) -> type | None:
    """The class of a path. Nothing is imported but this library, because a checkpoint may come from anyone."""
    module, _, name = path.rpartition(".")
    if module.partition(".")[0] == "lightning_edge":
        with suppress(ImportError):
            importlib.import_module(module)
    kind = getattr(sys.modules.get(module), name, None)
    return kind if isinstance(kind, type) else None


def old_names(module: str, names: Mapping[str, str]) -> Callable[[str], Any]:
    """Make a ``__getattr__`` for a module, so that old names in YAML files, checkpoints and imports still work.

    Args:
        module: Name of the module.
        names: Maps each old name to its new name.

    >>> __getattr__ = old_names(__name__, {"OldName": "NewName"})
    """

    def get(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        warnings.warn(
            f"{module}.{name} is now called {names[name]}. The old name will be removed in the next release.",
            FutureWarning,
            stacklevel=2,
        )
        return getattr(sys.modules[module], names[name])

    return get
