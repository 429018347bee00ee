import inspect
import math

import numpy as np
import pytest
import torch
from domain_features import normal, two_domains
from scipy.linalg import logm

from lightning_edge.ops.adaptation.coral import coral, log_coral


def test_coral_equals_numpy():
    source, target = two_domains()
    difference = np.cov(source.numpy().T) - np.cov(target.numpy().T)
    assert coral(source, target).item() == pytest.approx(np.sum(difference**2) / (4 * 3**2), rel=1e-12)


def test_coral_by_hand():
    # variances of 2 and 8 of one feature: (8 - 2)^2 / 4
    assert coral(torch.tensor([[0.0], [2.0]]), torch.tensor([[0.0], [4.0]])).item() == pytest.approx(9)


def test_log_coral_equals_scipy():
    source, target = two_domains()
    first, second = (logm(np.cov(x.numpy().T) + 0.01 * np.eye(3)) for x in (source, target))
    expected = np.sum((first - second) ** 2) / (4 * 3**2)
    assert log_coral(source, target, ridge=0.01).item() == pytest.approx(expected, rel=1e-10)


def test_log_coral_by_hand():
    result = log_coral(torch.tensor([[0.0], [2.0]]), torch.tensor([[0.0], [4.0]]), ridge=1e-9)
    assert result.item() == pytest.approx(math.log(4) ** 2 / 4)


@pytest.mark.parametrize("loss", [coral, log_coral])
def test_equal_covariances_have_no_distance(loss):
    source, _ = two_domains()
    assert loss(source, source.flip(0) + 5).abs() < 1e-12


@pytest.mark.parametrize("loss", [coral, log_coral])
def test_a_rotation_of_both_domains_changes_nothing(loss):
    source, target = two_domains()
    rotation, _ = torch.linalg.qr(normal(2, 3, 3))
    torch.testing.assert_close(loss(source @ rotation, target @ rotation), loss(source, target))


def test_log_coral_compares_ratios_of_variances():
    source, target = two_domains()
    scaled = log_coral(100 * source, 100 * target, ridge=1e-6)
    torch.testing.assert_close(scaled, log_coral(source, target, ridge=1e-10))


def test_the_gradient_of_log_coral_is_right_for_equal_eigenvalues():
    # the covariance of the source is a multiple of the identity, that of fewer samples than features has zeros
    source = torch.cat([torch.eye(3, dtype=torch.float64), -torch.eye(3, dtype=torch.float64)]).requires_grad_()
    target = normal(1, 2, 3).requires_grad_()
    assert torch.autograd.gradcheck(lambda *x: log_coral(*x, ridge=0.1), (source, target))


@pytest.mark.parametrize("loss", [coral, log_coral])
@pytest.mark.parametrize("counts", [(1, 5), (5, 1), (0, 5)])
def test_a_covariance_needs_two_samples(loss, counts):
    name, count = ("source", counts[0]) if counts[0] < 2 else ("target", counts[1])
    with pytest.raises(ValueError, match=f"expected 2 or more samples as {name}, got {count}; enlarge its batch"):
        loss(torch.zeros(counts[0], 3), torch.zeros(counts[1], 3))


@pytest.mark.parametrize("loss", [coral, log_coral])
def test_features_of_other_layers_are_refused(loss):
    unchecked = inspect.unwrap(loss)  # the tests check shapes of arguments too
    with pytest.raises(ValueError, match=r"got \[3\] and \[4\]; take both from the same layer"):
        unchecked(torch.zeros(5, 3), torch.zeros(5, 4))


@pytest.mark.parametrize("ridge", [0.0, -1.0, math.nan])
def test_a_ridge_is_above_0(ridge):
    with pytest.raises(ValueError, match="expected ridge above 0, got"):
        log_coral(*two_domains(), ridge=ridge)
