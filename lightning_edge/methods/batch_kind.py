"""Check that a method gets the type of batch that it takes."""

from collections.abc import Mapping
from typing import Any


def check_kind(batch: Any, batch_type: type) -> None:
    """Raise ``ValueError`` unless a batch has the keys that its type requires.

    Args:
        batch: Batch from a data loader.
        batch_type: A ``TypedDict`` such as :class:`~lightning_edge.contracts.ClassificationBatch`.
    """
    required = [key for key in batch_type.__annotations__ if key in getattr(batch_type, "__required_keys__", ())]
    if isinstance(batch, Mapping) and all(key in batch for key in required):
        return
    keys = " and ".join(map(repr, required))
    description = (
        f"one with {', '.join(map(repr, batch))}" if isinstance(batch, Mapping) else f"a {type(batch).__name__}"
    )
    raise ValueError(
        f"expected a batch with {keys} ({batch_type.__name__}), got {description}. See the guide to your own data, "
        "docs/guide/own_data.md."
    )
