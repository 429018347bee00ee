"""Recipes: a command line and configuration files for each system.

``python -m recipes`` lists them, and ``python -m recipes.accel fit`` runs one. ``run_config`` runs a recipe by a
function call, and ``run`` is the command line for a recipe of your own.
"""

from recipes._cli.command_line import run
from recipes._cli.run_config import run_config

__all__ = ["run", "run_config"]
