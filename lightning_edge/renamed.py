"""Old names of public classes, functions and arguments, which keep working for one release."""

import sys
import warnings
from collections.abc import Callable, Mapping
from typing import Any

_ARGUMENTS = {
    "Accel": {"branch_share": "branch_stage_fraction"},
    "CondConvNet": {"part": "submodule"},
    "DomainNet": {"part": "submodule"},
}
"""New names of the arguments of classes, by the class and the old name."""


def with_new_arguments(class_name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Give renamed arguments in a checkpoint their new names, also those of nested classes.

    Args:
        class_name: Name of the class that takes the arguments.
        arguments: Its arguments as a recipe saved them, where a class is a ``class_path`` with ``init_args``.
    """
    new_names = _ARGUMENTS.get(class_name, {})
    return {new_names.get(name, name): _with_new_arguments(value) for name, value in arguments.items()}


def _with_new_arguments(value: Any) -> Any:
    if not isinstance(value, Mapping) or not isinstance(value.get("init_args"), Mapping):
        return value
    class_name = str(value.get("class_path")).rpartition(".")[2]
    return {**value, "init_args": with_new_arguments(class_name, value["init_args"])}


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
