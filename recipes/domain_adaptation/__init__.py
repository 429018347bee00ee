"""Domain adaptation: accuracy on a domain without labels, by callbacks on any method."""

from functools import partial

from recipes._cli.command_line import run

LINKS = {"data.num_classes": ["model.init_args.net.init_args.num_classes"]}

main = partial(run, "domain_adaptation", commands=("taxonomy", "compare", "shallow"), links=LINKS)
"""``python -m recipes.domain_adaptation`` is the command line of this recipe."""
