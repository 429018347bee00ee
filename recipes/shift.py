"""Shift networks: image classification without spatial convolutions."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from recipes._cli import run
from recipes._shift_compare import compare

if TYPE_CHECKING:
    from recipes._parser import RecipeCLI

LINKS = {"data.num_classes": ["model.init_args.net.init_args.num_classes"]}


def main(args: Sequence[str] | None = None, folder: Path | None = None) -> "RecipeCLI":
    """Run the command line of this recipe."""
    return run("shift", args, commands=[compare], links=LINKS, folder=folder)


if __name__ == "__main__":
    main()
