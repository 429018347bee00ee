"""ANODEV2: image classification by blocks that are differential equations, whose weights change over time too."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from recipes._anodev2_compare import compare
from recipes._cli import run

if TYPE_CHECKING:
    from recipes._parser import RecipeCLI

LINKS = {"data.num_classes": ["model.init_args.net.init_args.num_classes"]}


def main(args: Sequence[str] | None = None, folder: Path | None = None) -> "RecipeCLI":
    """Run the command line of this recipe."""
    return run("anodev2", args, commands=[compare], links=LINKS, folder=folder)


if __name__ == "__main__":
    main()
