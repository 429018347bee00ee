"""Batch-size scaling: from which batch size on machines are wasted, for any recipe."""

from functools import partial

from recipes._cli.command_line import run

main = partial(
    run,
    "batch_size_scaling",
    commands=(
        "example",
        "sweep",
        "analyse",
    ),
)
