"""Segmentation of single images: the nets that the video methods use, and their baseline."""

from functools import partial

from recipes._cli.command_line import run

LINKS = {"data.num_classes": ["model.init_args.net.init_args.num_classes"]}

main = partial(run, "segmentation", links=LINKS)
