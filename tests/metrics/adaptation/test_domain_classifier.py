"""Density ratios of domains whose densities are known."""

import math

import pytest
import torch

from lightning_edge.metrics.adaptation.domain_classifier import DomainLogOdds, domain_log_odds
from lightning_edge.metrics.adaptation.proxy_a_distance import proxy_a_distance


def normal(rows, width, shift=0.0, seed=0):
    """Standard normal features, of which the first one is shifted."""
    features = torch.randn(rows, width, generator=torch.Generator().manual_seed(seed))
    features[:, 0] += shift
    return features


@pytest.mark.parametrize("num_target", [600, 3000])
def test_the_ratio_of_two_normal_densities_is_found(num_target):
    source, target = normal(2000, 3), normal(num_target, 3, shift=1.5, seed=1)
    log_odds = domain_log_odds(source, target)
    expected = 1.5 * source[:, 0].double() - 1.5**2 / 2
    assert (log_odds.source - expected).abs().mean() < 0.2
    assert log_odds.source_ratios.mean() == pytest.approx(1, abs=0.15)
    torch.testing.assert_close(log_odds.source_ratios.log(), log_odds.source)


def test_units_of_features_do_not_matter():
    source, target = normal(300, 3), normal(300, 3, shift=1.0, seed=1)
    scale, offset = torch.tensor([1000.0, 0.001, 1.0]), torch.tensor([0.0, 5.0, -300.0])
    other = domain_log_odds(source * scale + offset, target * scale + offset)
    for actual, expected in zip(other, domain_log_odds(source, target), strict=True):
        torch.testing.assert_close(actual, expected, rtol=0, atol=0.02)


def test_equal_domains_of_many_features_have_ratios_near_1():
    """With as many features as rows, a classifier separates the rows that it was fitted to."""
    log_odds = domain_log_odds(normal(200, 300), normal(200, 300, seed=1))
    assert log_odds.source.abs().max() < 0.5
    assert abs(proxy_a_distance(log_odds)) < 0.4


def test_the_distance_of_normal_domains_is_that_of_the_best_threshold():
    log_odds = domain_log_odds(normal(4000, 2), normal(2000, 2, shift=2.0, seed=1))
    error = 0.5 * math.erfc(1 / math.sqrt(2))  # beyond the middle, one standard deviation away
    assert proxy_a_distance(log_odds) == pytest.approx(2 * (1 - 2 * error), abs=0.06)


def test_the_distance_counts_errors_of_both_domains_equally():
    log_odds = DomainLogOdds(torch.tensor([-1.0, -2.0, -0.5, 3.0]), torch.tensor([1.0, -1.0]))
    assert proxy_a_distance(log_odds) == pytest.approx(2 * (1 - 2 * (1 / 4 + 1 / 2) / 2))
    apart = DomainLogOdds(torch.tensor([-1.0]), torch.tensor([1.0]))
    assert proxy_a_distance(apart) == 2
    assert proxy_a_distance(DomainLogOdds(*torch.zeros(2, 7))) == 0


@pytest.mark.parametrize(("num_source", "num_target"), [(5, 5), (17, 103)])
def test_constant_features_tell_nothing(num_source, num_target):
    log_odds = domain_log_odds(torch.full((num_source, 3), 0.1), torch.full((num_target, 3), 0.1))
    assert [len(part) for part in log_odds] == [num_source, num_target]
    assert torch.equal(torch.cat(log_odds), torch.zeros(num_source + num_target, dtype=torch.float64))


def test_separated_domains_have_finite_log_odds_of_distance_2():
    log_odds = domain_log_odds(normal(50, 2), normal(50, 2, shift=100.0, seed=1))
    assert torch.isfinite(torch.cat(log_odds)).all()
    assert proxy_a_distance(log_odds) == 2
    assert log_odds.source_ratios.max() < 0.1


def test_the_seed_sets_the_folds():
    features = normal(40, 2), normal(40, 2, shift=1.0, seed=1)
    first, again, other = (domain_log_odds(*features, seed=seed).source for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_too_few_rows_and_nan_are_refused():
    with pytest.raises(ValueError, match="expected at least 5 rows of target_features, got 4"):
        domain_log_odds(normal(9, 2), normal(4, 2))
    bad = normal(9, 2)
    bad[3, 1], bad[4] = torch.inf, torch.nan
    with pytest.raises(ValueError, match="finite values in source_features, got NaN or infinite ones in 2 of 9 rows"):
        domain_log_odds(bad, normal(9, 2))
