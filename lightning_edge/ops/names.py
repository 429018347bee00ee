"""Names of classes and domains as parts of metric keys."""

import re
from collections import Counter
from collections.abc import Collection, Sequence


def key_of(name: str) -> str:
    """A name with underscores instead of all other characters than letters and digits, because a slash splits keys."""
    return re.sub(r"[\W_]+", "_", name).strip("_")


def distinct_keys(names: Sequence[str], kind: str, taken: Collection[str] = ()) -> tuple[str, ...]:
    """Unique key parts for names, such as ``dawn_dusk_clear`` for "dawn/dusk clear".

    Args:
        names: Names of classes or domains.
        kind: Kind of the named things, such as "class".
        taken: Keys of other metrics. If a name would have one of them, the kind is appended, as in ``small_class``.

    Raises:
        ValueError: Two names would have the same key, so that one score would overwrite the other, or a name has
            neither letters nor digits.
    """
    keys = tuple(f"{key}_{kind}" if key in taken else key for key in map(key_of, names))
    for key, count in Counter(keys).items():
        same = [name for name, own in zip(names, keys, strict=True) if own == key]
        if not key:
            raise ValueError(f"expected the name of each {kind} to have a letter or a digit, got {same[0]!r}")
        if count > 1:
            raise ValueError(
                f"expected the name of each {kind} to differ from the others in letters or digits, because scores are "
                f"logged by name, got {same}: rename one of them"
            )
    return keys
