"""Soft neighborhood density against loops, numbers by hand, and another library."""

import math

import numpy as np
import pytest
import torch

from lightning_edge.metrics.adaptation.neighborhood_density import soft_neighborhood_density


def random_logits(rows, classes=4, seed=0):
    return 3 * torch.randn(rows, classes, generator=torch.Generator().manual_seed(seed))


def slow_density(logits, temperature):
    probabilities = [row.double().softmax(0) for row in logits]
    entropies = []
    for index, one in enumerate(probabilities):
        others = [other for place, other in enumerate(probabilities) if place != index]
        weights = [math.exp(float(one @ other / one.norm() / other.norm()) / temperature) for other in others]
        shares = [weight / sum(weights) for weight in weights]
        entropies.append(-sum(share * math.log(share) for share in shares))
    return sum(entropies) / len(entropies)


@pytest.mark.parametrize("temperature", [0.05, 0.5])
def test_a_loop_gives_the_same(temperature):
    logits = random_logits(12)
    assert soft_neighborhood_density(logits, temperature) == pytest.approx(slow_density(logits, temperature))


def test_rows_beyond_one_chunk_count_the_same(monkeypatch):
    logits = random_logits(50)
    whole = soft_neighborhood_density(logits)
    monkeypatch.setattr("lightning_edge.metrics.adaptation.neighborhood_density._ROWS_AT_ONCE", 7)
    assert soft_neighborhood_density(logits) == pytest.approx(whole)


def test_clusters_of_certain_predictions():
    """Three rows with two neighbors each, and two with one; the others are exp(-20) as similar."""
    logits = 100 * torch.eye(2)[[0, 0, 0, 1, 1]]
    assert soft_neighborhood_density(logits) == pytest.approx(3 / 5 * math.log(2), abs=1e-6)


def test_one_class_for_all_rows_is_the_maximum():
    assert soft_neighborhood_density(torch.tensor([[1000.0, 0, 0]]).expand(9, 3)) == pytest.approx(math.log(8))
    assert soft_neighborhood_density(random_logits(9)) < math.log(8)
    assert soft_neighborhood_density(random_logits(2)) == 0


def test_skada_gives_the_same():
    """It keeps a row as its own neighbor, with a similarity of -1 that is negligible at this temperature."""
    pytest.importorskip("skada")
    from skada import make_da_pipeline
    from skada.metrics import SoftNeighborhoodDensity
    from sklearn.linear_model import LogisticRegression

    random = np.random.default_rng(0)
    features = random.normal(size=(80, 2))
    labels, domain = (features.sum(1) > 0).astype(int), np.repeat([1, -2], 40)
    model = make_da_pipeline(LogisticRegression()).fit(features, labels, sample_domain=domain)
    expected = SoftNeighborhoodDensity()(model, features, labels, sample_domain=domain)
    logits = torch.from_numpy(model.predict_log_proba(features[40:]))
    assert soft_neighborhood_density(logits) == pytest.approx(expected, abs=1e-6)


def test_what_has_no_density_is_refused():
    with pytest.raises(ValueError, match="expected at least 2 rows of logits, got 1"):
        soft_neighborhood_density(random_logits(1))
    with pytest.raises(ValueError, match="expected finite values in logits, got NaN"):
        soft_neighborhood_density(random_logits(3) / 0)
    with pytest.raises(ValueError, match=r"expected temperature above 0, got 0\.0"):
        soft_neighborhood_density(random_logits(3), 0.0)
