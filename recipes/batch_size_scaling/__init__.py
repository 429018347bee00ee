"""Batch-size scaling: the largest batch size that still speeds up the training of a recipe."""

from functools import partial

from recipes._cli.command_line import run

main = partial(
    run,
    "batch_size_scaling",
    commands=(
        "example",
        "sweep",
        "analyze",
    ),
)
