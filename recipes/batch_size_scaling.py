"""Batch-size scaling: from which batch size on machines are wasted, for any recipe."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from recipes._cli import run
from recipes._scaling_analyse import analyse
from recipes._scaling_example import example
from recipes._scaling_sweep import sweep

if TYPE_CHECKING:
    from recipes._parser import RecipeCLI


def main(args: Sequence[str] | None = None, folder: Path | None = None) -> "RecipeCLI":
    """Run the command line of this recipe."""
    return run("batch_size_scaling", args, commands=[example, sweep, analyse], folder=folder)


if __name__ == "__main__":
    main()
