"""What happens to a recipe's arguments before they are parsed."""

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

_PART_OF_THE_NET = re.compile(r"--model\.(?:init_args\.)?net\.(?:init_args\.)?(\w+)(=null)?")


def prepare(args: Sequence[str], home: Path) -> list[str]:
    """Arguments that the parser understands as they are meant.

    A configuration that the current folder lacks is looked for in ``home``, beside the recipe. And a part of the net is
    left out by ``--model.net.update=null``, which the parser takes for a class of the name ``None``.
    """
    return list(_without_null_parts(_found_beside(args, home)))


def _found_beside(args: Sequence[str], home: Path) -> list[str]:
    """Point ``-c name``, ``--config name`` and ``--config=name`` beside the recipe where there is no such path here."""
    found = list(args)
    for index, (before, value) in enumerate(zip(["", *args], args, strict=False)):
        option, _, name = value.partition("=") if value.startswith("--config=") else (before, "", value)
        if option in ("-c", "--config") and not Path(name).exists() and (home / name).is_file():
            found[index] = value.removesuffix(name) + str(home / name)
    return found


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
