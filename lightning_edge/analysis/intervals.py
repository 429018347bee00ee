"""Confidence intervals over several seeds of the same experiment."""

from collections.abc import Sequence

import numpy as np
from scipy import stats


def mean_with_interval(values: Sequence[float] | np.ndarray) -> str:
    """Mean and half the width of Student's 95 % confidence interval, in the unit of the values, such as ``48.8±2.5``.

    A single value is returned without an interval. Without values, the result is an empty string.
    """
    if len(values) < 2:
        return "".join(f"{value:.1f}" for value in values)
    half = stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)
    return f"{np.mean(values):.1f}±{half:.1f}"  # without spaces, so that seven columns fit into 80 characters
