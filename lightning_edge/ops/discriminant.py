"""Directions that separate groups, as in linear discriminant analysis."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor

_SHRINKAGE = 0.2
"""Share of the covariance that is replaced by an isotropic one, so that few samples suffice for many features."""
_LEAST_VARIANCE = 1e-12


def discriminant_map(
    features: Float[Tensor, "samples features"], group: Int64[Tensor, " samples"]
) -> Float[Tensor, "features features"]:
    """Linear map after which distances are measured in standard deviations within a group.

    The group with the nearest mean is then the most likely one (Fisher's discriminant), if groups are equally frequent
    and normally distributed with the same covariance. Features that vary much within groups get little weight. The
    covariance is shrunk towards an isotropic one.

    Args:
        features: Features of samples of known groups, on similar scales, for example standardized.
        group: Index of each sample's group.

    Returns:
        The map. It is the identity if nothing varies within groups.

    Raises:
        ValueError: There are no samples, or a feature is not finite.
    """
    if not len(features) or not torch.isfinite(features).all():
        raise ValueError(f"expected finite features of one sample or more, got {list(features.shape)}")
    values = features.double()
    count = int(group.max()) + 1
    sums = values.new_zeros(count, values.shape[1]).index_add(0, group, values)
    means = sums / group.bincount(minlength=count).clamp(min=1)[:, None]
    within = values - means[group]
    covariance = within.T @ within / max(1, len(values) - len(group.unique()))
    isotropic_variance = covariance.diagonal().mean()
    identity = torch.eye(len(covariance), dtype=values.dtype, device=values.device)
    if isotropic_variance < _LEAST_VARIANCE:
        return identity.to(features.dtype)
    shrunk = (1 - _SHRINKAGE) * covariance + _SHRINKAGE * isotropic_variance * identity
    root = torch.linalg.cholesky(shrunk)
    return torch.linalg.solve_triangular(root, identity, upper=False).to(features.dtype)
