"""Numbers of the same experiment under several seeds."""

from collections.abc import Sequence

import numpy as np
from scipy import stats


def mean_with_interval(values: Sequence[float] | np.ndarray) -> str:
    """Mean and half the width of Student's 95 % interval, in the values' unit, such as ``48.8±2.5``.

    One value stands alone, and of none there is nothing to say.
    """
    if len(values) < 2:
        return "".join(f"{value:.1f}" for value in values)
    half = stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)
    return f"{np.mean(values):.1f}±{half:.1f}"  # without spaces: seven columns in 80 characters
