"""Old names of public classes and functions, which keep working for one release."""

import sys
import warnings
from collections.abc import Callable, Mapping
from typing import Any


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
