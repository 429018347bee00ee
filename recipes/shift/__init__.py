"""Shift networks: image classification without spatial convolutions."""

from functools import partial

from recipes._cli.command_line import run

LINKS = {"data.num_classes": ["model.init_args.net.init_args.num_classes"]}

main = partial(run, "shift", commands=("compare",), links=LINKS)
