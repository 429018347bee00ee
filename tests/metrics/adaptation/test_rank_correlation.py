"""Spearman's correlation, with what is missing."""

import math

import pytest

from lightning_edge.metrics.adaptation.rank_correlation import rank_correlation

NAN = math.nan


def test_by_hand():
    assert rank_correlation([0.1, 0.2, 30, 40], [1, 3, 2, 4]) == pytest.approx(1 - 6 * 2 / (4 * 15))
    assert rank_correlation([1, 2, 3], [1, 10, 100]) == pytest.approx(1)
    assert rank_correlation([1, 2, 3], [3, 2, 1]) == pytest.approx(-1)


def test_equal_values_share_a_rank():
    """Deviations of ranks from 2: -0.5 -0.5 1 and -1 0 1."""
    assert rank_correlation([5, 5, 6], [1, 2, 3]) == pytest.approx(1.5 / math.sqrt(1.5 * 2))


def test_what_is_unknown_does_not_count():
    assert rank_correlation([0.1, NAN, 0.2, 30, 40, 7], [1, 9, 3, 2, 4, NAN]) == pytest.approx(0.8)
    assert rank_correlation([-math.inf, 1, 2], [0, 1, 2]) == pytest.approx(1)


@pytest.mark.parametrize(
    ("scores", "accuracies"), [([], []), ([1], [1]), ([1, 1], [1, 2]), ([1, 2], [3, 3]), ([1, NAN, 2], [1, 2, NAN])]
)
def test_too_little_for_an_order_is_nan(scores, accuracies):
    assert math.isnan(rank_correlation(scores, accuracies))


def test_unequal_numbers_are_refused():
    with pytest.raises(ValueError, match=r"expected one accuracy for each score \(2\), got 1"):
        rank_correlation([1, 2], [1])
