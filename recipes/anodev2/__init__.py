"""ANODEV2: image classification by blocks that are differential equations, whose weights also change over time."""

from functools import partial

from recipes._cli.command_line import run

LINKS = {"data.num_classes": ["model.init_args.net.init_args.num_classes"]}

main = partial(run, "anodev2", commands=("compare",), links=LINKS)
