"""Scaling of the features of a domain before domain adaptation."""

import numpy as np
from jaxtyping import Float


def standardized_shares(counts: Float[np.ndarray, "samples features"]) -> Float[np.ndarray, "samples features"]:
    """Histograms divided by their sum, and then each feature with mean 0 and variance 1 over the samples.

    This is the preparation of Gong et al. (*Geodesic flow kernel for unsupervised domain adaptation*, CVPR 2012), whose
    code calls ``zscore(x, 1)`` of MATLAB: the variance is divided by the number of samples, not by one less. An empty
    histogram counts as zeros, and a feature that is the same in all samples becomes 0.

    Args:
        counts: One histogram a row. Of features with negative values, the absolute values are summed.
    """
    sums = np.abs(counts).sum(1, keepdims=True)
    shares = counts / np.where(sums > 0, sums, 1)
    varies = np.ptp(shares, axis=0) > 0
    deviations = np.where(varies, shares.std(0), 1)
    return np.where(varies, (shares - shares.mean(0)) / deviations, 0.0)
