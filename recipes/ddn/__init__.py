"""Domain-aware Dynamic Networks: a detector that mixes its weights for the present light and weather."""

from functools import partial

from recipes._cli.command_line import run

_NET = "model.init_args.net.init_args"
LINKS = {
    "data.num_classes": [f"{_NET}.num_classes", f"{_NET}.body.init_args.num_classes"],
    "data.embedding_features": [f"{_NET}.num_features"],
}

main = partial(
    run,
    "ddn",
    commands=(
        "compare",
        "domains",
        "embed",
        "export",
        "stream",
    ),
    links=LINKS,
)
