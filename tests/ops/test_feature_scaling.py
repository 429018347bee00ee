import numpy as np
import pytest

from lightning_edge.ops.feature_scaling import standardized_shares


def test_by_hand():
    """Shares 1/2, 1/4, 3/4 of the first word have the mean 1/2 and, divided by three, the variance 1/24."""
    counts = np.array([[2.0, 2.0, 0.0], [1.0, 3.0, 0.0], [6.0, 2.0, 0.0]])
    value = np.sqrt(24) / 4
    expected = [[0, 0, 0], [-value, value, 0], [value, -value, 0]]
    np.testing.assert_allclose(standardized_shares(counts), expected, atol=1e-12)


def test_a_histogram_does_not_depend_on_the_number_of_words():
    counts = np.random.default_rng(0).integers(0, 9, (20, 30)).astype(float)
    np.testing.assert_allclose(standardized_shares(3 * counts), standardized_shares(counts), atol=1e-10)


def test_constant_and_empty_ones_are_finite():
    counts = np.array([[0.0, 0.0], [1.0, 1.0], [3.0, 1.0]])
    assert np.isfinite(standardized_shares(counts)).all()
    constant = standardized_shares(np.full((4, 3), 0.1))
    assert constant == pytest.approx(np.zeros((4, 3)))
    assert not constant.any()
