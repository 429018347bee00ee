"""Small batches of two domains."""

import torch


def normal(seed, *shape, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def two_domains(source=7, target=5, features=3):
    """Features of two domains with different means and covariances, and different numbers of samples."""
    return normal(0, source, features), 1.5 * normal(1, target, features) + 0.5
