"""Accel: video segmentation with warped features of an accurate net and corrections of a fast one."""

from functools import partial

from recipes._cli.command_line import run

LINKS = {
    "data.num_classes": [
        "model.init_args.net.init_args.reference.init_args.num_classes",
        "model.init_args.net.init_args.update.init_args.num_classes",
    ]
}

main = partial(
    run,
    "accel",
    commands=(
        "choose",
        "repeat",
        "ablate",
        "export",
        "keyframes",
    ),
    links=LINKS,
)
