"""Recipes: a command line, and a configuration file beside it, for each system.

``python -m recipes`` lists them; ``python -m recipes.accel fit`` runs one; ``run_config`` is a run as a function.
"""

from recipes._cli import run_config

__all__ = ["run_config"]
