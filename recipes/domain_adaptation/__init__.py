"""Domain adaptation: a model for unlabeled target data, trained with labels of a source domain."""

from functools import partial

from recipes._cli.command_line import run

main = partial(run, "domain_adaptation", commands=("shallow",))
"""``python -m recipes.domain_adaptation`` is the command line of this recipe."""
