"""The methods of the tables: functions of a labeled source and target features that predict the target's labels."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64
from sklearn.decomposition import PCA
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC

from lightning_edge import shallow
from recipes.domain_adaptation._shallow_data import Domain

Features = Float64[np.ndarray, "images features"]
Predict = Callable[[Domain, Features, int], Int64[np.ndarray, " images"]]
"""Predicts the target's labels from the source, the target's features and the seed of the cross-validation."""

COSTS = tuple(10.0**exponent for exponent in range(-3, 5))
"""Values of C from which two-fold cross-validation on the source chooses.

They are those of the published code for CORAL. It stops at 100 without adaptation, so as not to favor CORAL all have
the same values here."""


def neighbor(source: Domain, target: Features, seed: int) -> Int64[np.ndarray, " images"]:
    """The label of the nearest source image, without adaptation."""
    del seed
    return KNeighborsClassifier(1).fit(*source).predict(target)


def neighbor_after_pca(source: Domain, target: Features, seed: int) -> Int64[np.ndarray, " images"]:
    """The label of the nearest source image in 20 principal components of both domains."""
    both = np.concatenate([source.features, target])
    pca = PCA(min(20, *both.shape), svd_solver="full").fit(both)
    return neighbor(Domain(pca.transform(source.features), source.labels), pca.transform(target), seed)


def adapted(kind: type[Any], source: Domain, target: Features, seed: int) -> Int64[np.ndarray, " images"]:
    """The predictions of an estimator of this kind that adapts to the target."""
    del seed
    return kind().fit(*source, target).predict(target)


def machine(
    kernel: Float64[np.ndarray, "source source"], labels: Int64[np.ndarray, " source"], seed: int
) -> GridSearchCV:
    """A support vector machine on kernel values, with C from two-fold cross-validation."""
    folds = StratifiedKFold(2, shuffle=True, random_state=seed)
    return GridSearchCV(SVC(kernel="precomputed"), {"C": COSTS}, cv=folds).fit(kernel, labels)


def linear(source: Domain, target: Features, seed: int) -> Int64[np.ndarray, " images"]:
    """A linear support vector machine, without adaptation."""
    found = machine(source.features @ source.features.T, source.labels, seed)
    return found.predict(target @ source.features.T)


def gaussian(source: Domain, target: Features, seed: int) -> Int64[np.ndarray, " images"]:
    """A support vector machine with LIBSVM's default kernel: Gaussian, gamma = 1 / number of features."""
    gamma = 1 / target.shape[1]
    found = machine(rbf_kernel(source.features, gamma=gamma), source.labels, seed)
    return found.predict(rbf_kernel(target, source.features, gamma=gamma))


def linear_after_alignment(
    kind: type[Any], source: Domain, target: Features, seed: int
) -> Int64[np.ndarray, " images"]:
    """A linear support vector machine on aligned features."""
    aligned = kind().fit(*source, target)
    mapped = Domain(aligned.transform_source(source.features), source.labels)
    return linear(mapped, aligned.transform(target), seed)


def coral_similarity(source: Domain, target: Features, seed: int) -> Int64[np.ndarray, " images"]:
    """CORAL as in its authors' code: a support vector machine on the similarities x A y, with x from the source.

    Only one side of a similarity is aligned, also if y is from the source too. The matrix is not symmetric.
    """
    aligned = shallow.CorrelationAlignment().fit(*source, target).transform_source(source.features)
    found = machine(aligned @ source.features.T, source.labels, seed)
    return found.predict(target @ aligned.T)


def linear_after_weighting(
    kind: type[Any], source: Domain, target: Features, seed: int
) -> Int64[np.ndarray, " images"]:
    """A linear support vector machine of the weighted source; C is chosen without weights."""
    cost = machine(source.features @ source.features.T, source.labels, seed).best_params_["C"]
    return kind(estimator=SVC(kernel="linear", C=cost)).fit(*source, target).predict(target)


NEIGHBORS: Mapping[str, Predict] = {
    "NA": neighbor,
    "PCA": neighbor_after_pca,
    "SA": partial(adapted, shallow.SubspaceAlignment),
    "SGF": partial(adapted, shallow.SampledGeodesicFlow),
    "GFK": partial(adapted, shallow.GeodesicFlowKernel),
    "TCA": partial(adapted, shallow.TransferComponentAnalysis),
    "JDA": partial(adapted, shallow.JointDistributionAdaptation),
    "TJM": partial(adapted, shallow.TransferJointMatching),
    "CORAL": partial(adapted, shallow.CorrelationAlignment),
}
"""Methods that are given all source images, with the nearest neighbor."""

MACHINES: Mapping[str, Predict] = {
    "NA-SVM": linear,
    "CORAL-SVM": partial(linear_after_alignment, shallow.CorrelationAlignment),
    "KMM-SVM": partial(linear_after_weighting, shallow.KernelMeanMatching),
    "KLIEP-SVM": partial(linear_after_weighting, shallow.KLIEP),
    "ULSIF-SVM": partial(linear_after_weighting, shallow.ULSIF),
}
"""Methods that are given all source images, with linear support vector machines."""

FEW_LABELS: Mapping[str, Predict] = {
    "NA-RBF": gaussian,
    "NA-LINEAR": linear,
    "SA-LINEAR": partial(linear_after_alignment, shallow.SubspaceAlignment),
    "CORAL-LINEAR": coral_similarity,
}
"""Methods of the protocol of CORAL, which are given a few source images of each class."""
