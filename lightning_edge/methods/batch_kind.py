"""The kind of batch that a method takes."""

from collections.abc import Mapping
from typing import Any


def check_kind(batch: Any, batch_type: type) -> None:
    """Raise ``ValueError`` unless a batch has the keys that its type requires.

    Args:
        batch: What a loader gave.
        batch_type: A ``TypedDict`` such as :class:`~lightning_edge.contracts.ClassificationBatch`.
    """
    required = [key for key in batch_type.__annotations__ if key in getattr(batch_type, "__required_keys__", ())]
    if isinstance(batch, Mapping) and all(key in batch for key in required):
        return
    keys = " and ".join(map(repr, required))
    given = f"one with {', '.join(map(repr, batch))}" if isinstance(batch, Mapping) else f"a {type(batch).__name__}"
    raise ValueError(
        f"expected a batch with {keys} ({batch_type.__name__}), got {given}; see the guide on your own data, "
        "docs/guide/own_data.md"
    )
