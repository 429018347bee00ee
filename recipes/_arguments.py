"""What happens to a recipe's arguments before they are parsed."""

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

_PART_OF_A_PART = re.compile(r"--(model|data)((?:\.\w+){2,})=null")


def prepare(args: Sequence[str], home: Path) -> list[str]:
    """Arguments that the parser understands as they are meant.

    A configuration that the current folder lacks is looked for in ``home``, beside the recipe. And a part is left out
    by ``--model.net.update=null``, which the parser takes for a class of the name ``None``.
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
    for argument in args:
        if not (null := _PART_OF_A_PART.fullmatch(argument)):
            yield argument
            continue
        content = None
        for name in reversed([name for name in null[2].split(".")[1:] if name != "init_args"]):
            content = {"init_args": {name: content}}
        yield from ("-c", json.dumps({null[1]: content}))
