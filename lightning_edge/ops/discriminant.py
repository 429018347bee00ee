"""Directions in which groups lie apart, as in linear discriminant analysis."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor

_SHRINKAGE = 0.2
"""Share of the covariance that is taken for alike in all directions, so that few samples of many features do."""
_LEAST_VARIANCE = 1e-12


def discriminant_map(
    features: Float[Tensor, "samples features"], group: Int64[Tensor, " samples"]
) -> Float[Tensor, "features features"]:
    """Linear map after which distances are in deviations of single samples within their group.

    The nearest mean of a group is then the likeliest one, for equally frequent groups that are normal with one
    covariance (Fisher's discriminant), but for some shrinkage: what varies much from sample to sample counts little.

    Args:
        features: Of samples of known groups, on like scales, such as standardized ones.
        group: Number of each sample's group.

    Returns:
        The map; the identity if nothing varies within groups.

    Raises:
        ValueError: There is no sample, or a feature is not finite.
    """
    if not len(features) or not torch.isfinite(features).all():
        raise ValueError(f"expected finite features of one sample or more, got {list(features.shape)}")
    values = features.double()
    count = int(group.max()) + 1
    sums = values.new_zeros(count, values.shape[1]).index_add(0, group, values)
    means = sums / group.bincount(minlength=count).clamp(min=1)[:, None]
    within = values - means[group]
    covariance = within.T @ within / max(1, len(values) - len(group.unique()))
    alike = covariance.diagonal().mean()
    identity = torch.eye(len(covariance), dtype=values.dtype, device=values.device)
    if alike < _LEAST_VARIANCE:
        return identity.to(features.dtype)
    shrunk = (1 - _SHRINKAGE) * covariance + _SHRINKAGE * alike * identity
    root = torch.linalg.cholesky(shrunk)
    return torch.linalg.solve_triangular(root, identity, upper=False).to(features.dtype)
