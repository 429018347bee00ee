"""Arguments that the parser would not understand as they are meant."""

import json
import re
from collections.abc import Iterator, Sequence

_PART_OF_THE_NET = re.compile(r"--model\.(?:init_args\.)?net\.(?:init_args\.)?(\w+)(=null)?")


def without_null_parts(args: Sequence[str]) -> Iterator[str]:
    """Arguments in which a part of the net that is left out, by ``--model.net.update=null``, is a configuration.

    The parser would take ``null`` for a class of the name ``None``.
    """
    rest = iter(zip(args, [*args[1:], ""], strict=True))
    for argument, value in rest:
        part = _PART_OF_THE_NET.fullmatch(argument)
        if part is None or (part[2] is None and value != "null"):
            yield argument
            continue
        if part[2] is None:
            next(rest)  # the value, in a word of its own
        yield from ("-c", json.dumps({"model": {"init_args": {"net": {"init_args": {part[1]: None}}}}}))
