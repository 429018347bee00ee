"""Estimates of a mean over the target domain from weighted rows of the source."""

from jaxtyping import Float
from torch import Tensor

from lightning_edge.metrics.adaptation.row_checks import check_rows

_EQUAL = 1e-9
"""Standard deviation, as a share of the mean, below which ratios count as equal; their regression would be noise."""


def importance_weighted_mean(values: Float[Tensor, " source"], ratios: Float[Tensor, " source"]) -> float:
    """Importance-weighted validation (Sugiyama et al., JMLR 8, 2007): mean over the source, weighted by density ratios.

    The weights are normalized to sum to 1. The published estimate divides by the number of rows instead, which has no
    bias but can leave the range of the values.

    Args:
        values: A quality of each source row, such as 1 for a correct prediction and 0 for a wrong one; higher is
            better, and then the mean is too.
        ratios: Density ratio of target to source at each row, at least 0.

    Returns:
        Estimated mean of the values over the target, within their range.

    Raises:
        ValueError: There are no rows, a value is NaN or infinite, or a ratio is negative, or all are 0.
    """
    check_ratios(values, ratios)
    weights = ratios.double() / ratios.double().sum()
    return float(weights @ values.double())


def controlled_mean(values: Float[Tensor, " source"], ratios: Float[Tensor, " source"]) -> float:
    """Deep embedded validation (DEV, You et al., ICML 2019): importance weighting with a control variate.

    The mean of the density ratios is known to be 1. The difference to 1 in a sample is removed from the estimate by the
    regression of the weighted values on the ratios, which lowers its variance. For errors, the published risk is 1
    minus the estimate for the share of correct predictions. The estimate is not bounded: a few very large ratios can
    move it out of the range of the values.

    Args:
        values: A quality of each source row, such as 1 for a correct prediction and 0 for a wrong one; higher is
            better, and then the estimate is too. Negative losses give the negative published risk.
        ratios: Density ratio of target to source at each row, at least 0. The paper has them from the features that
            the model adapts.

    Returns:
        Estimated mean of the values over the target. With equal ratios there is no control variate.

    Raises:
        ValueError: There are no rows, a value is NaN or infinite, or a ratio is negative, or all are 0.
    """
    check_ratios(values, ratios)
    weights = ratios.double()
    weighted = weights * values.double()
    centered = weights - weights.mean()
    variance = centered @ centered
    varies = variance > len(weights) * (_EQUAL * weights.mean()) ** 2
    slope = centered @ weighted / variance if varies else 0.0
    return float(weighted.mean() - slope * (weights.mean() - 1))


def normalized_controlled_mean(values: Float[Tensor, " source"], ratios: Float[Tensor, " source"]) -> float:
    """Normalized deep embedded validation (DEVN, Musgrave et al., arXiv:2208.07360), robust to large ratios.

    The ratios are divided by the largest one and then shifted to a mean of 1, so that no weight exceeds 2. With a mean
    of 1 the control variate of :func:`controlled_mean` has no effect. This trades a bias towards the mean over the
    source for less variance.

    Args:
        values: A quality of each source row, as in :func:`controlled_mean`.
        ratios: Density ratio of target to source at each row, at least 0.

    Returns:
        Estimated mean of the values over the target.

    Raises:
        ValueError: There are no rows, a value is NaN or infinite, or a ratio is negative, or all are 0.
    """
    check_ratios(values, ratios)
    scaled = ratios.double() / ratios.double().max()
    return controlled_mean(values, scaled - scaled.mean() + 1)


def check_ratios(values: Float[Tensor, " source"], ratios: Float[Tensor, " source"]) -> None:
    """Raise ``ValueError`` unless there are as many values as ratios, finite, and these at least 0 and not all 0."""
    check_rows(1, values=values, ratios=ratios)
    if values.shape != ratios.shape:
        raise ValueError(f"expected a ratio for each of the {len(values)} values, got {len(ratios)}")
    if not (ratios.min() >= 0 and ratios.max() > 0):
        raise ValueError(
            f"expected ratios of at least 0, and one above 0, got {float(ratios.min())} to {float(ratios.max())}"
        )
