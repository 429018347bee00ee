"""Density ratio of two domains, from a classifier that tells their features apart."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from lightning_edge.metrics.adaptation.row_checks import check_rows

_NUM_FOLDS = 5
_INVERSE_PENALTIES = (1.0, 0.1, 0.01, 0.001, 0.0001)
"""From as good as none to one that leaves all ratios near 1, for standardized features."""
_MAX_ITERATIONS = 1000


class DomainLogOdds(NamedTuple):
    """Log odds that a row is of the target, as if both domains had equally many rows.

    This is the logarithm of the density ratio, which is the density of the target divided by that of the source.
    """

    source: Float[Tensor, " source"]
    """Log odds of each row of the source."""
    target: Float[Tensor, " target"]
    """Log odds of each row of the target."""

    @property
    def source_ratios(self) -> Float[Tensor, " source"]:
        """Density ratio at each row of the source, which is its weight in an estimate for the target."""
        return self.source.exp()


def domain_log_odds(
    source_features: Float[Tensor, "source features"], target_features: Float[Tensor, "target features"], seed: int = 0
) -> DomainLogOdds:
    """Log odds from logistic regression on standardized features, for each row from a fit to other rows.

    Five folds are held out in turn. Of five penalties, the one with the least held-out log loss is used, so that many
    features with little shift do not give extreme ratios. A classifier that was fitted to the rows it weights would
    tell apart even equal domains.

    Args:
        source_features: Features of source data that the model was not trained on.
        target_features: Features of target data. Constant features have no influence; if all are constant, all log
            odds are 0.
        seed: Seed of the folds.

    Returns:
        Log odds in float64.

    Raises:
        ValueError: A domain has fewer than 5 rows, the domains differ in the number of features, or a feature is NaN
            or infinite.
    """
    check_rows(_NUM_FOLDS, source_features=source_features, target_features=target_features)
    if source_features.shape[1:] != target_features.shape[1:]:
        raise ValueError(
            f"expected as many features in both domains, got shapes {list(source_features.shape)} of the source and "
            f"{list(target_features.shape)} of the target"
        )
    num_source, num_target = len(source_features), len(target_features)
    features = torch.cat([source_features, target_features]).float().numpy()  # half of the time of float64
    is_target = np.repeat([False, True], [num_source, num_target])
    candidates = [_held_out_log_odds(features, is_target, penalty, seed) for penalty in _INVERSE_PENALTIES]
    best = torch.from_numpy(min(candidates, key=lambda log_odds: _log_loss(log_odds, is_target)))
    return DomainLogOdds(best[:num_source], best[num_source:])


def _log_loss(log_odds: np.ndarray, is_target: np.ndarray) -> float:
    """Sum of the mean losses of both domains."""
    losses = np.logaddexp(0, np.where(is_target, -log_odds, log_odds))
    return float(losses[is_target].mean() + losses[~is_target].mean())


def _held_out_log_odds(features: np.ndarray, is_target: np.ndarray, inverse_penalty: float, seed: int) -> np.ndarray:
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    regression = LogisticRegression(C=inverse_penalty, class_weight="balanced", max_iter=_MAX_ITERATIONS)
    folds = StratifiedKFold(_NUM_FOLDS, shuffle=True, random_state=seed)
    classifier = make_pipeline(StandardScaler(), regression)
    log_odds = cross_val_predict(classifier, features, is_target, cv=folds, method="decision_function")
    return np.asarray(log_odds, dtype=np.float64)
