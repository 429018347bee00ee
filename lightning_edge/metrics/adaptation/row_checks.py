"""Checks of tensors whose rows are samples of one domain."""

import torch
from jaxtyping import Float
from torch import Tensor


def check_rows(least: int, /, **values: Float[Tensor, "_ ..."]) -> None:
    """Raise ``ValueError`` unless each tensor has at least ``least`` rows and only finite values.

    Args:
        least: Smallest allowed number of rows.
        values: Tensors by the names of their arguments.
    """
    for name, rows in values.items():
        if len(rows) < least:
            raise ValueError(f"expected at least {least} rows of {name}, got {len(rows)}")
        num_bad = int((~torch.isfinite(rows.reshape(len(rows), -1)).all(1)).sum())
        if num_bad:
            raise ValueError(
                f"expected finite values in {name}, got NaN or infinite ones in {num_bad} of {len(rows)} rows. "
                "Has the training diverged?"
            )
