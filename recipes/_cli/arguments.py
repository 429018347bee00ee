"""Rewrites arguments that the parser would misunderstand."""

import json
import re
from collections.abc import Iterator, Sequence

_PART = r"(model)\.(?:init_args\.)?(net)|(data)\.(?:init_args\.)?(source|target)"
_NULL_OF_PART = re.compile(rf"--(?:{_PART})\.(?:init_args\.)?(?P<name>\w+)(?P<value>=null)?")


def without_null_parts(args: Sequence[str]) -> Iterator[str]:
    """Rewrite each argument that sets a value of the net, the source or the target to ``null`` as a configuration.

    The parser would read the ``null`` of ``--model.net.update=null`` as a class with the name ``None``, and that of
    ``--data.target.root=null`` as a folder with this name.
    """
    rest = iter(zip(args, [*args[1:], ""], strict=True))
    for argument, value in rest:
        part = _NULL_OF_PART.fullmatch(argument)
        if part is None or (part["value"] is None and value != "null"):
            yield argument
            continue
        if part["value"] is None:
            next(rest)  # the value is the next word
        owner, name = (group for group in part.groups()[:4] if group)
        yield from ("-c", json.dumps({owner: {"init_args": {name: {"init_args": {part["name"]: None}}}}}))
