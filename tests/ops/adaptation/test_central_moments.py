import inspect

import numpy as np
import pytest
import torch
from domain_features import two_domains
from scipy.stats import moment

from lightning_edge.ops.adaptation.central_moments import central_moment_discrepancy


@pytest.mark.parametrize(("num_moments", "interval"), [(1, 1.0), (2, 1.0), (5, 1.0), (5, 2.0)])
def test_equals_moments_of_scipy(num_moments, interval):
    source, target = (features.tanh() for features in two_domains())
    expected = np.linalg.norm(source.mean(0) - target.mean(0)) / interval
    for order in range(2, num_moments + 1):
        difference = moment(source.numpy(), order) - moment(target.numpy(), order)
        expected += np.linalg.norm(difference) / interval**order
    result = central_moment_discrepancy(source, target, num_moments, interval)
    assert result.item() == pytest.approx(expected, rel=1e-12)


def test_by_hand():
    # means 0.5 and 0.25, variances 0.25 and 0.0625
    source, target = torch.tensor([[0.0], [1.0]]), torch.tensor([[0.0], [0.5]])
    assert central_moment_discrepancy(source, target, num_moments=2).item() == pytest.approx(0.25 + 0.1875)


def test_equal_sets_have_no_discrepancy():
    source, _ = two_domains()
    assert central_moment_discrepancy(source, source.flip(0)) < 1e-12


def test_a_shift_of_both_domains_changes_nothing():
    source, target = two_domains()
    torch.testing.assert_close(
        central_moment_discrepancy(source + 3, target + 3), central_moment_discrepancy(source, target)
    )


def test_without_an_interval_it_is_the_range_of_both_domains_as_a_constant():
    # from 0 of the source to 4 of the target; means 1 and 3, variances 1 and 1
    source, target = torch.tensor([[0.0], [2.0]], requires_grad=True), torch.tensor([[2.0], [4.0]])
    loss = central_moment_discrepancy(source, target, num_moments=2, interval=None)
    assert loss.item() == pytest.approx(2 / 4)
    loss.backward()
    assert source.grad.flatten().tolist() == pytest.approx([-1 / 8, -1 / 8], abs=1e-6)
    features = two_domains()
    scaled = [central_moment_discrepancy(*(scale * one for one in features), interval=None) for scale in (1, 1000)]
    torch.testing.assert_close(*scaled)
    assert central_moment_discrepancy(torch.ones(2, 3), torch.ones(2, 3), interval=None) == 0


def test_bad_arguments_are_refused():
    source, target = two_domains()
    with pytest.raises(ValueError, match="expected num_moments of at least 1, got 0"):
        central_moment_discrepancy(source, target, num_moments=0)
    with pytest.raises(ValueError, match=r"expected interval above 0, got 0\.0"):
        central_moment_discrepancy(source, target, interval=0.0)
    with pytest.raises(ValueError, match="take both from the same layer"):
        inspect.unwrap(central_moment_discrepancy)(source, target[:, :2])
    with pytest.raises(ValueError, match="expected 1 or more samples as target, got 0"):
        central_moment_discrepancy(source, target[:0])
