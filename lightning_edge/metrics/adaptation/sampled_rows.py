"""Sample of rows that is the same each time, such as pixels of segmentation."""

import torch
from jaxtyping import Int64
from torch import Tensor

from lightning_edge.checks import check_at_least, check_whole_at_least


def sampled_rows(
    num_rows: int, batch_idx: int, num_batches: int, max_rows: int, seed: int = 0
) -> Int64[Tensor, " rows"]:
    """Indices of the rows of a batch that belong to a sample of a data set.

    Each batch contributes the same number of rows, up to one. They depend on the seed and the number of the batch only,
    so that the models of different epochs are scored on the same rows.

    Args:
        num_rows: Number of rows of the batch, such as its labeled pixels.
        batch_idx: Number of the batch in the epoch.
        num_batches: Number of batches in the epoch.
        max_rows: Size of the sample. It is smaller if batches have fewer rows than their share.
        seed: Seed of the sample.

    Returns:
        Ascending indices without repetition; all rows if there are no more than the share of the batch.

    Raises:
        ValueError: A count is too small, or ``batch_idx`` is not below ``num_batches``.
    """
    check_whole_at_least(0, num_rows=num_rows, batch_idx=batch_idx, seed=seed)
    check_whole_at_least(1, max_rows=max_rows)
    check_at_least(batch_idx + 1, num_batches=num_batches)
    share = max_rows * (batch_idx + 1) // num_batches - max_rows * batch_idx // num_batches
    if num_rows <= share:
        return torch.arange(num_rows)
    generator = torch.Generator().manual_seed(seed * num_batches + batch_idx)
    return torch.randperm(num_rows, generator=generator)[:share].sort().values
