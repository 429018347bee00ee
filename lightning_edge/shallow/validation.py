"""Checks of the samples of two domains, which all estimators share."""

from typing import Any

import numpy as np
from jaxtyping import Float
from sklearn.base import BaseEstimator
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import validate_data


def checked_domains(
    estimator: BaseEstimator, Xs: Any, ys: Any, Xt: Any
) -> tuple[Float[np.ndarray, "source features"], np.ndarray, Float[np.ndarray, "target features"]]:
    """Source samples, their labels, and target samples as arrays. Sets ``n_features_in_`` and ``classes_``.

    Args:
        estimator: Estimator that is fitted.
        Xs: Source samples, one a row.
        ys: Label of each source sample.
        Xt: Target samples with the features of the source. ``None`` takes the source samples.

    Raises:
        ValueError: A domain has fewer than two samples, NaN or infinity, labels are not classes, or the features of
            the domains differ.
    """
    Xs, ys = validate_data(estimator, Xs, ys, dtype=np.float64, ensure_min_samples=2)
    check_classification_targets(ys)
    estimator.classes_ = np.unique(ys)  # pyright: ignore[reportAttributeAccessIssue]
    if Xt is None:
        return Xs, ys, Xs
    try:
        Xt = validate_data(estimator, Xt, dtype=np.float64, ensure_min_samples=2, reset=False)
    except ValueError as error:
        raise ValueError(f"expected target samples Xt that fit the source samples, got an error: {error}") from None
    return Xs, ys, Xt


def checked_samples(estimator: BaseEstimator, X: Any) -> Float[np.ndarray, "samples features"]:
    """Samples with the features that the estimator was fitted to, as an array.

    Raises:
        ValueError: There are NaN or infinity, or other features.
    """
    return np.asarray(validate_data(estimator, X, dtype=np.float64, reset=False))
