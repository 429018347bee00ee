"""Samples of two domains, of which the target is rotated, scaled and shifted."""

import numpy as np


def two_domains(num_source=60, num_target=50, num_features=6, num_classes=3, seed=0):
    """Source samples, their labels, target samples and their labels."""
    rng = np.random.default_rng(seed)
    centers = 3 * rng.normal(size=(num_classes, num_features))
    mixing = np.eye(num_features) + 0.4 * rng.normal(size=(num_features, num_features))
    ys, yt = (np.arange(count) % num_classes for count in (num_source, num_target))
    Xs, Xt = (centers[labels] + rng.normal(size=(len(labels), num_features)) for labels in (ys, yt))
    return Xs, ys, Xt @ mixing + rng.normal(size=num_features), yt
