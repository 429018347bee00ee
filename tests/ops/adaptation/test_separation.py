import inspect

import pytest
import torch
from domain_features import normal

from lightning_edge.ops.adaptation.separation import difference_loss, scale_invariant_mse


def test_scale_invariant_error_equals_the_formula():
    prediction, target = normal(0, 4, 3, 2, 2), normal(1, 4, 3, 2, 2)
    expected = 0.0
    for difference in (prediction - target).flatten(1):
        count = len(difference)
        expected += ((difference @ difference) / count - difference.sum() ** 2 / count**2) / 4
    torch.testing.assert_close(scale_invariant_mse(prediction, target), expected)


def test_a_shift_of_an_image_costs_nothing():
    target = normal(1, 4, 3, 2, 2)
    shift = torch.arange(4, dtype=torch.float64).reshape(4, 1, 1, 1)
    assert scale_invariant_mse(target + shift, target) < 1e-12


def test_difference_equals_loops():
    shared, private = normal(0, 6, 3), normal(1, 6, 2)

    def prepared(features):
        centered = [row - features.mean(0) for row in features]
        return [row / row.norm() for row in centered]

    pairs = list(zip(prepared(shared), prepared(private), strict=True))
    expected = sum(sum(s[i] * p[j] for s, p in pairs) ** 2 for i in range(3) for j in range(2)) / 6
    torch.testing.assert_close(difference_loss(shared, private), expected)


def test_orthogonal_features_by_hand():
    shared, private = torch.tensor([[1.0], [-1.0], [1.0], [-1.0]]), torch.tensor([[1.0], [1.0], [-1.0], [-1.0]])
    assert difference_loss(shared, private) == 0
    # four samples of correlation 1
    assert difference_loss(shared, shared).item() == pytest.approx(16)


def test_other_numbers_of_samples_are_refused():
    with pytest.raises(ValueError, match="of the same samples, two or more, got 4 and 3"):
        difference_loss(torch.zeros(4, 3), torch.zeros(3, 3))
    with pytest.raises(ValueError, match="of the same samples, two or more, got 1 and 1"):
        difference_loss(torch.zeros(1, 3), torch.zeros(1, 3))
    with pytest.raises(ValueError, match=r"expected prediction and target of one shape, got \[4, 3\] and \[4, 2\]"):
        inspect.unwrap(scale_invariant_mse)(torch.zeros(4, 3), torch.zeros(4, 2))
