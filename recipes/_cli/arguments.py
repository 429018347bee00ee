"""What happens to a recipe's arguments before they are parsed."""

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from recipes._cli.config_files import find_configs

_PART_OF_THE_NET = re.compile(r"--model\.(?:init_args\.)?net\.(?:init_args\.)?(\w+)(=null)?")


def prepare(args: Sequence[str], defaults: Path, has_own_configs: bool = True) -> list[str]:
    """Arguments that the parser understands as they are meant.

    A configuration that the current folder lacks is looked for beside ``defaults``, the recipe's own. And a part of the
    net is left out by ``--model.net.update=null``, which the parser takes for a class of the name ``None``.
    ``has_own_configs`` is false of a command whose ``--config`` is for another recipe.
    """
    return list(_without_null_parts(find_configs(args, defaults, has_own_configs)))


def _without_null_parts(args: Sequence[str]) -> Iterator[str]:
    rest = iter(zip(args, [*args[1:], ""], strict=True))
    for argument, value in rest:
        part = _PART_OF_THE_NET.fullmatch(argument)
        if part is None or (part[2] is None and value != "null"):
            yield argument
            continue
        if part[2] is None:
            next(rest)  # the value, in a word of its own
        yield from ("-c", json.dumps({"model": {"init_args": {"net": {"init_args": {part[1]: None}}}}}))
