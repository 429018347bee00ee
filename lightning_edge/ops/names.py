"""Names of classes and domains as parts of keys."""

import re


def key_of(name: str) -> str:
    """A name in which all but letters and digits are underscores, for a slash would part a key in the logs."""
    return re.sub(r"[^0-9A-Za-z]+", "_", name).strip("_")
