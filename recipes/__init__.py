"""Recipes: a command line, and configuration files beside it, for each system.

``python -m recipes`` lists them; ``python -m recipes.accel fit`` runs one; ``run_config`` is a run as a function, and
``run`` the command line of a recipe of your own.
"""

from recipes._cli.command_line import run
from recipes._cli.run_config import run_config

__all__ = ["run", "run_config"]
