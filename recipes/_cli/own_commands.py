"""The commands that a recipe adds to fit, validate, test and predict.

Their names, summaries and parameters are known before heavy modules are imported. A command that is given by its name
is a function of this name, in a file of this name in the recipe's folder; that file is parsed without importing it.
"""

import ast
import importlib
from collections.abc import Callable, Sequence
from inspect import getdoc, signature
from pathlib import Path
from typing import Any, NamedTuple


class OwnCommand(NamedTuple):
    """A command of a recipe."""

    name: str
    summary: str
    """First line of its docstring."""
    parameters: tuple[str, ...]
    function: Callable[..., Any] | None
    """``None`` if it is not imported yet."""
    module: str = ""
    """The module to import it from."""

    def load(self) -> Callable[..., Any]:
        """The function itself."""
        return self.function or getattr(importlib.import_module(self.module), self.name)


def own_commands(commands: Sequence[str | Callable[..., Any]], recipe: str, folder: Path) -> list[OwnCommand]:
    """Describe commands without importing them.

    Args:
        commands: Functions, or names of files in the recipe's folder.
        recipe: Name of the recipe, a package of ``recipes``.
        folder: The recipe's folder.
    """
    return [
        _read(folder / f"{command}.py", command, f"recipes.{recipe}.{command}")
        if isinstance(command, str)
        else OwnCommand(command.__name__, _first_line(getdoc(command)), tuple(signature(command).parameters), command)
        for command in commands
    ]


def _read(path: Path, name: str, module: str) -> OwnCommand:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    function = next(node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == name)
    parameters = tuple(argument.arg for argument in (*function.args.args, *function.args.kwonlyargs))
    return OwnCommand(name, _first_line(ast.get_docstring(function)), parameters, None, module)


def _first_line(docstring: str | None) -> str:
    return (docstring or "").partition("\n")[0]
