"""How many samples a batch has, whatever it consists of."""

from typing import Any

from torch import Tensor
from torch.utils._pytree import tree_leaves


def batch_size_of(batch: Any) -> int:
    """First dimension of the batch's first tensor.

    Raises:
        ValueError: There is none.
    """
    size = first_dimension(batch)
    if size is None:
        raise ValueError(f"expected batches with tensors, got {type(batch).__name__} without")
    return size


def first_dimension(batch: Any) -> int | None:
    """The same, or ``None``."""
    sizes = (leaf.shape[0] for leaf in tree_leaves(batch) if isinstance(leaf, Tensor) and leaf.ndim > 0)
    return next(sizes, None)
