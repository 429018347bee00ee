"""The maximum mean discrepancy between two domains, as differences of means of their samples.

A column e of coefficients, one for each sample of both domains, stands for the difference ``X.T @ e`` of two means. The
matrix M of the literature is ``E @ E.T``, where E has such columns; it is never formed, because it has as many rows and
columns as there are samples.
"""

import numpy as np
from jaxtyping import Float


def domain_difference(num_source: int, num_target: int) -> Float[np.ndarray, "samples 1"]:
    """Coefficients of the mean of the source minus the mean of the target."""
    return np.repeat([1 / num_source, -1 / num_target], [num_source, num_target])[:, None]


def class_differences(
    source_labels: np.ndarray, target_labels: np.ndarray, classes: np.ndarray
) -> Float[np.ndarray, "samples present"]:
    """For each class, coefficients of its mean in the source minus its mean in the target.

    Args:
        source_labels: Class of each source sample.
        target_labels: Class of each target sample.
        classes: All classes. Those that a domain lacks have no column.
    """
    source, target = ((labels[:, None] == classes).astype(np.float64) for labels in (source_labels, target_labels))
    present = source.any(0) & target.any(0)
    source, target = source[:, present], target[:, present]
    return np.concatenate([source / source.sum(0), -target / target.sum(0)])


def discrepancy(
    X: Float[np.ndarray, "samples features"], differences: Float[np.ndarray, "samples columns"]
) -> Float[np.ndarray, "features features"]:
    """The matrix ``X.T @ M @ X`` with M divided by its Frobenius norm.

    Args:
        X: Samples of both domains, the source first.
        differences: Columns E, with M being ``E @ E.T``.
    """
    means = X.T @ differences
    return means @ means.T / np.linalg.norm(differences.T @ differences)
