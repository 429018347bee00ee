"""The files of a recipe.

A recipe of the library is a folder with ``default.yaml`` and its variants. A user's own recipe may be a single file
with a configuration of the same name in the same folder: ``soft.py`` and ``soft.yaml``, with variants such as
``soft_long.yaml``.
"""

import ast
from pathlib import Path

HOME = Path(__file__).parents[1]
"""The folder of all recipes of the library."""

_DEFAULT = "default.yaml"


def recipe_names() -> list[str]:
    """The recipes of the library."""
    return sorted(path.parent.name for path in HOME.glob("[!_]*/__init__.py"))


def recipe_summary(recipe: str) -> str:
    """First line of a recipe's docstring, read without importing the recipe."""
    tree = ast.parse((HOME / recipe / "__init__.py").read_text(encoding="utf-8"))
    return (ast.get_docstring(tree) or "").partition("\n")[0]


def default_config(recipe: str) -> Path:
    """Path of the configuration with a recipe's defaults.

    Args:
        recipe: Name of a recipe of the library, or the path of a recipe's Python file elsewhere.
    """
    path = Path(recipe)
    if path.suffix != ".py":
        return HOME / recipe / _DEFAULT
    return path.with_name(_DEFAULT) if path.name == "__init__.py" else path.with_suffix(".yaml")


def recipe_of(defaults: Path) -> str:
    """Name of the recipe that a default configuration belongs to."""
    return defaults.parent.name if defaults.name == _DEFAULT else defaults.stem


def shipped_configs(defaults: Path) -> list[str]:
    """Names of the configurations in the recipe's folder that are variants of its default one."""
    pattern = "*.yaml" if defaults.name == _DEFAULT else f"{defaults.stem}_*.yaml"
    return sorted(path.name for path in defaults.parent.glob(pattern) if path != defaults)
