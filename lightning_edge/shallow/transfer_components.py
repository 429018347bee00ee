"""Components with a large variance and a small discrepancy between domains: what TCA, JDA and TJM share."""

from abc import ABC
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.linalg import eigh
from sklearn.preprocessing import normalize
from typing_extensions import override

from lightning_edge.checks import check_at_least, check_whole_at_least
from lightning_edge.shallow.alignment import AlignedClassifier
from lightning_edge.shallow.mean_differences import discrepancy


def transfer_components(
    X: Float[np.ndarray, "samples features"],
    penalty: Float[np.ndarray, "features features"],
    n_components: int,
) -> Float[np.ndarray, "features components"]:
    """The directions v with the largest variance of ``X @ v`` in relation to ``v @ penalty @ v``, which is 1.

    This scale of the components, and not that of variance 1, is a part of the published results: a component with more
    variance has more influence on the distances.

    Args:
        X: Samples of both domains.
        penalty: Positive definite matrix.
        n_components: Number of directions, at most as many as there are features.
    """
    centered = X - X.mean(0)
    num = len(penalty)
    first = max(0, num - n_components)
    _, vectors = eigh(centered.T @ centered, penalty, subset_by_index=[first, num - 1])
    return vectors[:, ::-1]


def regularized_components(
    X: Float[np.ndarray, "samples features"],
    differences: Float[np.ndarray, "samples columns"],
    n_components: int,
    regularization: float,
) -> Float[np.ndarray, "features components"]:
    r"""Directions whose penalty is the discrepancy of the domains plus :math:`\lambda I`.

    With more features than samples, the directions are combinations of the samples, so smaller matrices are enough.

    Args:
        X: Samples of both domains, the source first.
        differences: Differences of means, see :mod:`~lightning_edge.shallow.mean_differences`.
        n_components: Number of directions.
        regularization: The value :math:`\lambda`.
    """
    if X.shape[1] > len(X):
        basis, coordinates = np.linalg.qr(X.T)
        return basis @ regularized_components(coordinates.T, differences, n_components, regularization)
    penalty = discrepancy(X, differences) + regularization * np.eye(X.shape[1])
    return transfer_components(X, penalty, n_components)


class TransferComponents(AlignedClassifier, ABC):
    """Base of the methods that project both domains onto transfer components. They are set by ``_align``.

    Args:
        n_components: Number of components, at most as many as there are features.
        regularization: Strength of the regularization, lambda.
        unit_length: Whether samples are scaled to length 1, both before and after the projection.
        estimator: Classifier of the components; the nearest neighbor if ``None``.

    Attributes:
        components_: Matrix whose columns are the components.
    """

    components_: Float[np.ndarray, "inputs components"]

    def __init__(
        self,
        n_components: int = 20,
        regularization: float = 1.0,
        unit_length: bool = True,
        estimator: Any = None,
    ) -> None:
        super().__init__(estimator)
        self.n_components = n_components
        self.regularization = regularization
        self.unit_length = unit_length

    def _inputs(
        self, Xs: Float[np.ndarray, "source features"], Xt: Float[np.ndarray, "target features"]
    ) -> Float[np.ndarray, "samples inputs"]:
        """What components are combinations of, for the samples of both domains. Checks the settings."""
        check_whole_at_least(1, n_components=self.n_components)
        check_at_least(1e-12, regularization=self.regularization)
        return self._input(np.concatenate([Xs, Xt]))

    def _input(self, X: Float[np.ndarray, "samples features"]) -> Float[np.ndarray, "samples inputs"]:
        return self._scaled(X)

    @override
    def _map(self, X: Float[np.ndarray, "samples features"]) -> Float[np.ndarray, "samples aligned"]:
        return self._scaled(self._input(X) @ self.components_)

    def _scaled(self, X: Float[np.ndarray, "samples values"]) -> Float[np.ndarray, "samples values"]:
        return np.asarray(normalize(X)) if self.unit_length else X
