"""Domain-aware Dynamic Networks: a detector whose weights are mixed for the light and weather that it sees."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from recipes._cli import run
from recipes._ddn_compare import compare
from recipes._ddn_domains import domains
from recipes._ddn_embed import embed
from recipes._ddn_export import export
from recipes._ddn_stream import stream

if TYPE_CHECKING:
    from recipes._parser import RecipeCLI

_NET = "model.init_args.net.init_args"
LINKS = {
    "data.num_classes": [f"{_NET}.num_classes", f"{_NET}.body.init_args.num_classes"],
    "data.embedding_features": [f"{_NET}.num_features"],
}


def main(args: Sequence[str] | None = None, folder: Path | None = None) -> "RecipeCLI":
    """Run the command line of this recipe."""
    return run("ddn", args, commands=[compare, domains, embed, export, stream], links=LINKS, folder=folder)


if __name__ == "__main__":
    main()
