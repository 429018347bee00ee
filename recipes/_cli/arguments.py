"""Rewrites arguments that the parser would misunderstand."""

import json
import re
from collections.abc import Iterator, Sequence

_PART_OF_THE_NET = re.compile(r"--model\.(?:init_args\.)?net\.(?:init_args\.)?(\w+)(=null)?")


def without_null_parts(args: Sequence[str]) -> Iterator[str]:
    """Rewrite each argument that sets a part of the net to ``null`` as an inline configuration.

    The parser would read the ``null`` of ``--model.net.update=null`` as a class with the name ``None``.
    """
    rest = iter(zip(args, [*args[1:], ""], strict=True))
    for argument, value in rest:
        part = _PART_OF_THE_NET.fullmatch(argument)
        if part is None or (part[2] is None and value != "null"):
            yield argument
            continue
        if part[2] is None:
            next(rest)  # the value is the next word
        yield from ("-c", json.dumps({"model": {"init_args": {"net": {"init_args": {part[1]: None}}}}}))
