"""Accel: video segmentation by warped features of an accurate net and corrections of a fast one."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from recipes._accel_choose import choose
from recipes._accel_export import export
from recipes._accel_keyframes import keyframes
from recipes._accel_series import ablate, repeat
from recipes._cli import run

if TYPE_CHECKING:
    from recipes._parser import RecipeCLI

LINKS = {
    "data.num_classes": [
        "model.init_args.net.init_args.reference.init_args.num_classes",
        "model.init_args.net.init_args.update.init_args.num_classes",
    ]
}


def main(args: Sequence[str] | None = None, folder: Path | None = None) -> "RecipeCLI":
    """Run the command line of this recipe."""
    return run("accel", args, commands=[choose, repeat, ablate, export, keyframes], links=LINKS, folder=folder)


if __name__ == "__main__":
    main()
