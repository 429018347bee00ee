"""Names of domains as parts of the keys that are logged."""

from collections import Counter
from collections.abc import Sequence

from lightning_edge.ops.names import key_of


def domain_keys(names: Sequence[str]) -> tuple[str, ...]:
    """A part of a key for each domain: ``dawn_dusk_clear`` of "dawn/dusk clear".

    Raises:
        ValueError: Two domains would have the same one.
    """
    keys = tuple(key_of(name) for name in names)
    for key, count in Counter(keys).items():
        if count > 1:
            same = [name for name in names if key_of(name) == key]
            raise ValueError(f"expected domains whose names differ in letters and digits, got {same}")
    return keys
