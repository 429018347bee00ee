"""Base of the estimators that weight source samples by how likely they are in the target domain."""

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from jaxtyping import Float
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.svm import SVC
from sklearn.utils.validation import check_is_fitted, has_fit_parameter

from lightning_edge.shallow.validation import checked_domains, checked_samples


class ReweightedClassifier(ClassifierMixin, BaseEstimator, ABC):
    """A classifier of weighted source samples. A subclass implements :meth:`_importances`.

    Args:
        estimator: Classifier whose ``fit`` takes ``sample_weight``; a linear support vector machine if ``None``.

    Attributes:
        classes_: The classes of the source.
        estimator_: The classifier, fitted to the weighted source samples.
        n_features_in_: Number of features of a sample.
        weights_: Weight of each source sample, an estimate of its density in the target divided by that in the source.
    """

    def __init__(self, estimator: Any = None) -> None:
        self.estimator = estimator

    def fit(self, X: Any, y: Any, Xt: Any = None) -> "ReweightedClassifier":
        """Weight the source samples, and fit the classifier to them.

        Args:
            X: Source samples, shape (source samples, features).
            y: Label of each source sample.
            Xt: Target samples, shape (target samples, features). ``None`` takes the source samples.

        Raises:
            ValueError: The samples contain NaN or infinity, a domain has one sample only, the numbers of features
                differ, the classifier takes no weights, or the target is so far from the source that all source
                samples, or those of all classes but one, have a weight of 0.
        """
        Xs, ys, Xt = checked_domains(self, X, y, Xt)
        estimator: Any = SVC(kernel="linear") if self.estimator is None else clone(self.estimator)
        if not has_fit_parameter(estimator, "sample_weight"):
            raise ValueError(
                f"expected an estimator whose fit takes sample_weight, such as SVC, got {type(estimator).__name__}"
            )
        self.weights_ = self._importances(Xs, Xt)
        # SVC confuses the classes if all samples of one have a weight of 0, so such samples are left out
        counts = self.weights_ > 0
        _check_classes(ys, counts)
        self.estimator_ = estimator.fit(Xs[counts], ys[counts], sample_weight=self.weights_[counts])
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Predicted class of each target sample.

        Args:
            X: Target samples, shape (samples, features).
        """
        check_is_fitted(self)
        return self.estimator_.predict(checked_samples(self, X))

    @abstractmethod
    def _importances(
        self, Xs: Float[np.ndarray, "source features"], Xt: Float[np.ndarray, "target features"]
    ) -> Float[np.ndarray, " source"]:
        """Weight of each source sample."""


def _check_classes(labels: np.ndarray, counts: np.ndarray) -> None:
    """Raise ``ValueError`` if the samples that count have one class only, but not all samples."""
    remaining = np.unique(labels[counts]).tolist()
    if len(remaining) < min(2, len(np.unique(labels))):
        raise ValueError(
            f"expected source samples of two or more classes with weights above 0, got {int(counts.sum())} samples of "
            f"the classes {remaining}: standardize the features of both domains, or use larger bandwidths"
        )
