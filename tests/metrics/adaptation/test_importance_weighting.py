"""Estimates for the target from labeled rows of the source."""

import math

import numpy as np
import pytest
import torch

from lightning_edge.metrics.adaptation.domain_classifier import domain_log_odds
from lightning_edge.metrics.adaptation.importance_weighting import (
    controlled_mean,
    importance_weighted_mean,
    normalized_controlled_mean,
)

ESTIMATES = [importance_weighted_mean, controlled_mean, normalized_controlled_mean]


def shifted(rows, seed):
    """Rows of a source N(0, 1) and a target N(1, 1), and where a model is right: below 0.5."""
    generator = torch.Generator().manual_seed(seed)
    source, target = torch.randn(2, rows, generator=generator).double()
    target = target + 1
    return source, target, (source < 0.5).double(), float((target < 0.5).double().mean())


def test_by_hand():
    values, ratios = torch.tensor([1.0, 0.0, 1.0, 0.0]), torch.tensor([0.5, 1.5, 2.0, 2.0])
    assert importance_weighted_mean(values, ratios) == pytest.approx(2.5 / 6)
    # weighted 0.5 0 2 0 of mean 0.625; ratios of mean 1.5, deviations -1 0 0.5 0.5: slope (-0.5 + 1) / 1.5
    assert controlled_mean(values, ratios) == pytest.approx(0.625 - (1 / 3) * 0.5)
    # ratios by the largest 0.25 0.75 1 1 of mean 0.75: 0.5 1 1.25 1.25
    assert normalized_controlled_mean(values, ratios) == pytest.approx(1.75 / 4)


@pytest.mark.parametrize("seed", range(3))
def test_weights_give_the_accuracy_on_the_target_where_that_on_the_source_is_wrong(seed):
    source, target, is_right, on_target = shifted(4000, seed)
    true_ratios = (source - 0.5).exp()
    estimated = domain_log_odds(source[:, None], target[:, None]).source_ratios
    assert is_right.mean() - on_target > 0.35
    for ratios in (true_ratios, estimated):
        assert importance_weighted_mean(is_right, ratios) == pytest.approx(on_target, abs=0.05)
        assert controlled_mean(is_right, ratios) == pytest.approx(on_target, abs=0.05)
    assert on_target < normalized_controlled_mean(is_right, true_ratios) < is_right.mean() - 0.01


def test_the_control_variate_lowers_the_variance():
    plain, controlled = [], []
    for seed in range(200):
        source, _, is_right, _ = shifted(200, seed)
        ratios = (source - 0.5).exp()
        plain.append(float((ratios * (1 - is_right)).mean()))
        controlled.append(1 - controlled_mean(is_right, ratios))
    expected = 1 - 0.5 * (1 + math.erf(-0.5 / math.sqrt(2)))
    assert np.mean(controlled) == pytest.approx(expected, abs=0.02)
    assert np.std(controlled) < 0.6 * np.std(plain)


def published_risk(ratios, losses):
    """Equations of the paper, with sample covariances."""
    weighted = ratios * losses
    eta = -np.cov(weighted, ratios, ddof=1)[0, 1] / np.var(ratios, ddof=1)
    return weighted.mean() + eta * ratios.mean() - eta


def test_deep_embedded_validation_is_the_published_risk():
    random = np.random.default_rng(0)
    ratios, losses = random.gamma(2, size=(2, 50))
    values = controlled_mean(-torch.from_numpy(losses), torch.from_numpy(ratios))
    assert values == pytest.approx(-published_risk(ratios, losses))
    wrong = (losses > 1).astype(float)
    is_right = torch.from_numpy(1 - wrong)
    assert controlled_mean(is_right, torch.from_numpy(ratios)) == pytest.approx(1 - published_risk(ratios, wrong))


@pytest.mark.parametrize("estimate", ESTIMATES)
@pytest.mark.parametrize("ratio", [1.0, 0.1, 1 + 1e-12])
def test_equal_ratios_give_the_mean(estimate, ratio):
    values = torch.tensor([1.0, 0.0, 0.0, 1.0, 1.0])
    ratios = torch.full((5,), ratio, dtype=torch.float64)
    scale = ratio if estimate is controlled_mean else 1  # without spread, nothing corrects the mean of the ratios
    assert estimate(values, ratios) == pytest.approx(0.6 * scale)
    assert estimate(values[:1], ratios[:1]) == pytest.approx(scale)


def test_ratios_that_differ_by_rounding_do_not_explode():
    values = torch.tensor([1.0, 0.0, 0.0, 1.0, 1.0])
    ratios = 1.001 + 1e-15 * torch.arange(5, dtype=torch.float64)
    assert controlled_mean(values, ratios) == pytest.approx(0.6, abs=0.01)


@pytest.mark.parametrize("estimate", ESTIMATES)
def test_what_gives_no_estimate_is_refused(estimate):
    one = torch.ones(1)
    with pytest.raises(ValueError, match="expected at least 1 rows of values, got 0"):
        estimate(one[:0], one[:0])
    with pytest.raises(ValueError, match="expected finite values in ratios"):
        estimate(one, one / 0)
    with pytest.raises(ValueError, match=r"expected ratios of at least 0, and one above 0, got -1\.0 to 1\.0"):
        estimate(torch.ones(2), torch.tensor([1.0, -1.0]))
    with pytest.raises(ValueError, match=r"one above 0, got 0\.0 to 0\.0"):
        estimate(one, 0 * one)


@pytest.fixture
def skada_task():
    pytest.importorskip("skada")
    random = np.random.default_rng(0)
    features = np.concatenate([random.normal(size=(90, 2)), random.normal((1, 0), size=(60, 2))])
    labels = (features.sum(1) + random.normal(size=150) > 0).astype(int)
    return features, labels, np.repeat([1, -2], [90, 60])


def test_the_importance_weighted_score_of_skada(skada_task):
    """It estimates the ratio by kernel densities; the score of given ratios is the same."""
    from skada import make_da_pipeline
    from skada.metrics import ImportanceWeightedScorer
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KernelDensity

    features, labels, domain = skada_task
    classifier = LogisticRegression().set_score_request(sample_weight=True).set_fit_request(sample_weight=True)
    model = make_da_pipeline(classifier).fit(features, labels, sample_domain=domain)
    expected = ImportanceWeightedScorer()(model, features, labels, sample_domain=domain)
    source, target = features[:90], features[90:]
    source_density, target_density = (KernelDensity().fit(part).score_samples(source) for part in (source, target))
    ratios = torch.from_numpy(np.exp(target_density - source_density))
    is_right = torch.from_numpy(model.predict(source) == labels[:90]).double()
    assert importance_weighted_mean(is_right, ratios) == pytest.approx(expected)
    assert abs(expected - float(is_right.mean())) > 0.003


def cross_entropy(labels, probabilities):
    return -np.log(probabilities[np.arange(len(labels)), labels])[:, None]


def test_the_deep_embedded_validation_of_skada(skada_task):
    """It takes the cross-entropy, and a classifier of the domains that was fitted to two thirds of the source.

    The losses must be a column: those of its own default are a row, and it multiplies every weight with every loss.
    """
    from skada import make_da_pipeline
    from skada.metrics import DeepEmbeddedValidation
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import train_test_split

    features, labels, domain = skada_task
    model = make_da_pipeline(LogisticRegression()).fit(features, labels, sample_domain=domain)
    scorer = DeepEmbeddedValidation(loss_func=cross_entropy, random_state=0)
    expected = scorer(model, features, labels, sample_domain=domain)
    rest, held_out, _, held_out_labels = train_test_split(
        features[:90], labels[:90], test_size=0.33, random_state=np.random.RandomState(0)
    )
    is_source = np.repeat([1, 0], [len(rest), 60])
    fitted = LogisticRegression().fit(np.concatenate([rest, features[90:]]), is_source)
    log_odds = -fitted.decision_function(held_out) + np.log(len(rest) / 60)
    losses = cross_entropy(held_out_labels, model.predict_proba(held_out))[:, 0]
    actual = controlled_mean(-torch.from_numpy(losses), torch.from_numpy(np.exp(log_odds)))
    assert actual == pytest.approx(expected)
