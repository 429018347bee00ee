import inspect
import math

import pytest
import torch
from domain_features import normal
from sklearn.metrics.pairwise import euclidean_distances, rbf_kernel

from lightning_edge.ops.adaptation import gaussian_kernels as module
from lightning_edge.ops.adaptation.gaussian_kernels import gaussian_kernels, squared_distances


def test_distances_are_those_of_scikit_learn():
    first, second = normal(0, 6, 4), normal(1, 3, 4)
    expected = euclidean_distances(first.numpy(), second.numpy(), squared=True)
    torch.testing.assert_close(squared_distances(first, second), torch.from_numpy(expected))


def test_features_far_from_zero_lose_no_digits():
    near = normal(0, 6, 4, dtype=torch.float32).div(64).mul(2**20).round().div(2**20)  # exact when 1024 is added
    torch.testing.assert_close(squared_distances(near + 1024, near + 1024), squared_distances(near, near))


def test_equal_samples_have_distance_0():
    features = torch.full((5, 3), 0.1)
    assert torch.equal(squared_distances(features, features), torch.zeros(5, 5))


def test_kernels_by_hand():
    # squared distances 1, 4 and 1: mean 2, median 1
    features = torch.tensor([[0.0], [1.0], [2.0]])
    by_mean = gaussian_kernels(features, multiples=[1.0])
    by_median = gaussian_kernels(features, multiples=[1.0], bandwidth="median")
    torch.testing.assert_close(by_mean[0], torch.tensor([1, math.exp(-1 / 2), math.exp(-4 / 2)]))
    torch.testing.assert_close(by_median[0], torch.tensor([1, math.exp(-1), math.exp(-4)]))


def test_kernels_sum_those_of_scikit_learn():
    features = normal(0, 6, 4)
    kernel = gaussian_kernels(features, multiples=[0.5, 3.0], bandwidth=2.0)
    expected = sum(rbf_kernel(features.numpy(), gamma=1 / (multiple * 2)) for multiple in (0.5, 3))
    torch.testing.assert_close(kernel, torch.from_numpy(expected))


@pytest.mark.parametrize("bandwidth", ["mean", "median"])
def test_scale_and_position_change_nothing(bandwidth):
    features = normal(0, 6, 4)
    kernel = gaussian_kernels(features, bandwidth=bandwidth)
    torch.testing.assert_close(gaussian_kernels(7 * features - 3, bandwidth=bandwidth), kernel)


@pytest.mark.parametrize(("bandwidth", "value"), [("mean", torch.mean), ("median", torch.median)])
def test_no_gradient_flows_through_the_bandwidth(bandwidth, value):
    features, same = normal(0, 6, 4).requires_grad_(), normal(0, 6, 4).requires_grad_()
    fixed = value(torch.pdist(features.detach()).square()).item()
    gaussian_kernels(features, bandwidth=bandwidth).sum().backward()
    gaussian_kernels(same, bandwidth=fixed).sum().backward()
    torch.testing.assert_close(features.grad, same.grad)


@pytest.mark.parametrize("bandwidth", ["mean", "median", 1.0])
def test_kernels_of_equal_samples_are_1(bandwidth):
    features = torch.full((5, 3), 0.1, requires_grad=True)
    kernel = gaussian_kernels(features, multiples=[1.0], bandwidth=bandwidth)
    assert torch.equal(kernel, torch.ones(5, 5))
    kernel.sum().backward()
    assert features.grad.isfinite().all()


@pytest.mark.parametrize("multiples", [[], [1.0, 0.0], [-1.0], [math.nan]])
def test_multiples_are_above_0(multiples):
    with pytest.raises(ValueError, match=r"expected one or more multiples above 0, got \["):
        gaussian_kernels(normal(0, 6, 4), multiples=multiples)


@pytest.mark.parametrize("bandwidth", [0.0, -1.0, math.nan])
def test_a_bandwidth_is_above_0(bandwidth):
    with pytest.raises(ValueError, match="expected bandwidth above 0, got"):
        gaussian_kernels(normal(0, 6, 4), bandwidth=bandwidth)


def test_a_bandwidth_is_one_of_two_words_or_a_number():
    with pytest.raises(ValueError, match="expected mean, median or a number as bandwidth, got 'max'"):
        inspect.unwrap(module._bandwidth)(torch.ones(3), "max")
