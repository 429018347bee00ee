"""Base of the estimators that map both domains into features where they are alike, and classify there."""

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from jaxtyping import Float
from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin, clone
from sklearn.neighbors import KNeighborsClassifier
from sklearn.utils.validation import check_is_fitted
from typing_extensions import override

from lightning_edge.shallow.validation import checked_domains, checked_samples


class AlignedClassifier(TransformerMixin, ClassifierMixin, BaseEstimator, ABC):
    """A classifier on aligned features. A subclass implements :meth:`_align` and :meth:`_map`.

    Args:
        estimator: Classifier of the aligned features; the nearest neighbor if ``None``.

    Attributes:
        classes_: The classes of the source.
        estimator_: The classifier, fitted to the aligned source samples.
        n_features_in_: Number of features of a sample.
    """

    classes_: np.ndarray

    def __init__(self, estimator: Any = None) -> None:
        self.estimator = estimator

    def fit(self, X: Any, y: Any, Xt: Any = None) -> "AlignedClassifier":
        """Align the domains, and fit the classifier to the aligned source.

        Args:
            X: Source samples, shape (source samples, features).
            y: Label of each source sample.
            Xt: Target samples, shape (target samples, features). ``None`` takes the source samples.

        Raises:
            ValueError: The samples contain NaN or infinity, a domain has one sample only, or the numbers of features
                differ.
        """
        Xs, ys, Xt = checked_domains(self, X, y, Xt)
        self._align(Xs, ys, Xt)
        self.estimator_ = self._new_classifier().fit(self._map_source(Xs), ys)
        return self

    @override
    def fit_transform(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, X: Any, y: Any = None, Xt: Any = None
    ) -> Float[np.ndarray, "samples aligned"]:
        """Fit, and return the aligned features of the source, on which the next step of a pipeline is fitted.

        Args:
            X: Source samples, shape (source samples, features).
            y: Label of each source sample.
            Xt: Target samples, shape (target samples, features). ``None`` takes the source samples.
        """
        return self.fit(X, y, Xt).transform_source(X)

    def transform(self, X: Any) -> Float[np.ndarray, "samples aligned"]:
        """Aligned features of target samples, shape (samples, aligned features).

        Args:
            X: Target samples, shape (samples, features).
        """
        check_is_fitted(self)
        return self._map(checked_samples(self, X))

    def transform_source(self, X: Any) -> Float[np.ndarray, "samples aligned"]:
        """Aligned features of source samples, which some methods map in another way than target samples.

        Args:
            X: Source samples, shape (samples, features).
        """
        check_is_fitted(self)
        return self._map_source(checked_samples(self, X))

    def predict(self, X: Any) -> np.ndarray:
        """Predicted class of each target sample.

        Args:
            X: Target samples, shape (samples, features).
        """
        aligned = self.transform(X)
        return self.estimator_.predict(aligned)

    @abstractmethod
    def _align(
        self, Xs: Float[np.ndarray, "source features"], ys: np.ndarray, Xt: Float[np.ndarray, "target features"]
    ) -> None:
        """Learn the maps of both domains."""

    @abstractmethod
    def _map(self, X: Float[np.ndarray, "samples features"]) -> Float[np.ndarray, "samples aligned"]:
        """Aligned features of target samples."""

    def _map_source(self, X: Float[np.ndarray, "samples features"]) -> Float[np.ndarray, "samples aligned"]:
        return self._map(X)

    def _new_classifier(self) -> Any:
        return KNeighborsClassifier(1) if self.estimator is None else clone(self.estimator)
