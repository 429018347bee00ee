"""Rewrites arguments that the parser would misunderstand."""

import json
import re
from collections.abc import Iterator, Sequence

_PART = re.compile(r"--(model|data)\.(?:init_args\.)?(net|source|target)\.(?:init_args\.)?(\w+)(=null)?")
"""A part of the net, or of one of the two data modules of an adaptation."""


def without_null_parts(args: Sequence[str]) -> Iterator[str]:
    """Rewrite each argument that sets a part of a net or of a nested data module to ``null`` as inline configuration.

    The parser would read the ``null`` of ``--model.net.update=null`` as a class with the name ``None``, and that of
    ``--data.target.root=null`` as a folder with this name.
    """
    rest = iter(zip(args, [*args[1:], ""], strict=True))
    for argument, value in rest:
        part = _PART.fullmatch(argument)
        if part is None or (part[4] is None and value != "null"):
            yield argument
            continue
        if part[4] is None:
            next(rest)  # the value is the next word
        owner, nested, name = part.group(1, 2, 3)
        yield from ("-c", json.dumps({owner: {"init_args": {nested: {"init_args": {name: None}}}}}))
