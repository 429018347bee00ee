"""Correlation alignment."""

from typing import Any

import numpy as np
from jaxtyping import Float
from typing_extensions import override

from lightning_edge.checks import check_at_least
from lightning_edge.shallow.alignment import AlignedClassifier


class CorrelationAlignment(AlignedClassifier):
    r"""The source with the covariance of the target.

    A source sample has the features :math:`x A` with :math:`A = C_s^{-1/2} C_t^{1/2}`, where C is the covariance of a
    domain plus :math:`\lambda I`. Target samples stay as they are (Sun, Feng and Saenko, *Return of frustratingly easy
    domain adaptation*, AAAI 2016, arXiv:1511.05547). Neither domain is centered, as in the authors' code.

    Args:
        regularization: Value :math:`\lambda` that is added to each variance; 1 in the paper.
        estimator: Classifier of the aligned features; the nearest neighbor if ``None``.

    Attributes:
        source_projection_: The matrix A.
    """

    def __init__(self, regularization: float = 1.0, estimator: Any = None) -> None:
        super().__init__(estimator)
        self.regularization = regularization

    @override
    def _align(
        self, Xs: Float[np.ndarray, "source features"], ys: np.ndarray, Xt: Float[np.ndarray, "target features"]
    ) -> None:
        check_at_least(0, regularization=self.regularization)
        identity = self.regularization * np.eye(Xs.shape[1])
        source, target = (np.cov(X, rowvar=False).reshape(identity.shape) + identity for X in (Xs, Xt))
        self.source_projection_ = _power(source, -0.5) @ _power(target, 0.5)

    @override
    def _map(self, X: Float[np.ndarray, "samples features"]) -> Float[np.ndarray, "samples aligned"]:
        return X

    @override
    def _map_source(self, X: Float[np.ndarray, "samples features"]) -> Float[np.ndarray, "samples aligned"]:
        return X @ self.source_projection_


def _power(
    covariance: Float[np.ndarray, "features features"], exponent: float
) -> Float[np.ndarray, "features features"]:
    """Power of a positive definite matrix.

    Raises:
        ValueError: The exponent is negative, and the matrix is singular.
    """
    values, vectors = np.linalg.eigh(covariance)
    smallest = values[-1] * len(values) * np.finfo(np.float64).eps
    if exponent < 0 and values[0] <= smallest:
        raise ValueError(
            "expected a regularization above 0, because the covariance of the source is singular, got one that leaves "
            f"a smallest eigenvalue of {values[0]:.3g}"
        )
    return vectors * np.maximum(values, 0) ** exponent @ vectors.T
