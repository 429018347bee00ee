import inspect
import math

import pytest
import torch
from domain_features import normal, two_domains

from lightning_edge.ops.adaptation.mmd import joint_mmd, linear_time_mmd, mmd

MULTIPLES = (0.5, 2.0)


def kernel(first, second, bandwidth):
    distance = sum((a - b) ** 2 for a, b in zip(first, second, strict=True))
    return sum(math.exp(-distance / (multiple * bandwidth)) for multiple in MULTIPLES)


def slow_mmd(source, target, kernel, is_unbiased):
    """Both estimators, one pair of samples after the other."""

    def mean(first, second, leaves_out_same):
        values = [
            kernel(a, b) for i, a in enumerate(first) for j, b in enumerate(second) if not (leaves_out_same and i == j)
        ]
        return sum(values) / len(values)

    return mean(source, source, is_unbiased) + mean(target, target, is_unbiased) - 2 * mean(source, target, False)


@pytest.mark.parametrize("is_unbiased", [False, True])
def test_equals_loops(is_unbiased):
    source, target = two_domains()
    result = mmd(source, target, MULTIPLES, is_unbiased=is_unbiased)
    bandwidth = torch.pdist(torch.cat([source, target])).square().mean().item()
    expected = slow_mmd(source.tolist(), target.tolist(), lambda a, b: kernel(a, b, bandwidth), is_unbiased)
    assert result.item() == pytest.approx(expected, rel=1e-12)


def test_mmd_by_hand():
    # one sample a domain at distance 1: 1 + 1 - 2 exp(-1)
    result = mmd(torch.tensor([[0.0]]), torch.tensor([[1.0]]), multiples=[1.0], bandwidth=1.0)
    assert result.item() == pytest.approx(2 - 2 * math.exp(-1))


def test_equal_sets_have_no_discrepancy():
    source, _ = two_domains()
    assert mmd(source, source.flip(0)).abs() < 1e-12
    assert joint_mmd([source, source.exp()], [source.flip(0), source.exp().flip(0)]).abs() < 1e-12


def test_the_unbiased_estimate_is_0_on_average_where_the_other_is_not():
    estimates = torch.tensor(
        [
            [
                mmd(normal(seed, 4, 2), normal(500 + seed, 4, 2), bandwidth=2.0, is_unbiased=flag)
                for flag in (True, False)
            ]
            for seed in range(300)
        ]
    )
    unbiased, biased = estimates.mean(0)
    assert unbiased.abs() < 3 * estimates[:, 0].std() / 300**0.5
    assert biased > 0.1


def test_domains_are_interchangeable():
    source, target = two_domains()
    torch.testing.assert_close(mmd(source, target), mmd(target, source))


def test_the_discrepancy_grows_with_the_distance_of_the_means():
    source, _ = two_domains()
    discrepancies = [mmd(source, source + shift, bandwidth=2.0) for shift in (0.1, 0.3, 1.0)]
    assert discrepancies == sorted(discrepancies)


@pytest.mark.parametrize("is_unbiased", [False, True])
def test_joint_mmd_equals_loops(is_unbiased):
    (source, target), layers = two_domains(), (lambda x: x, torch.tanh)
    joint = joint_mmd([f(source) for f in layers], [f(target) for f in layers], MULTIPLES, 1.5, is_unbiased)

    def product(first, second):
        return kernel(first, second, 1.5) * kernel(map(math.tanh, first), map(math.tanh, second), 1.5)

    expected = slow_mmd(source.tolist(), target.tolist(), product, is_unbiased)
    assert joint.item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("is_unbiased", [False, True])
def test_joint_mmd_of_one_layer_is_mmd(is_unbiased):
    source, target = two_domains()
    torch.testing.assert_close(
        joint_mmd([source], [target], is_unbiased=is_unbiased), mmd(source, target, is_unbiased=is_unbiased)
    )


def test_joint_mmd_sees_which_features_come_together():
    layer = normal(0, 40, 1)
    other = layer[torch.randperm(40, generator=torch.Generator().manual_seed(0))]
    assert mmd(layer, other).abs() < 1e-12
    assert joint_mmd([layer, layer], [layer, other]) > 0.1


def test_linear_time_mmd_equals_a_loop():
    source, target = two_domains()  # of 7 and 5 samples, 4 of each count
    result = linear_time_mmd(source, target, MULTIPLES, bandwidth=1.5)
    s, t = source.tolist(), target.tolist()
    terms = [
        kernel(s[i], s[i + 1], 1.5)
        + kernel(t[i], t[i + 1], 1.5)
        - kernel(s[i], t[i + 1], 1.5)
        - kernel(s[i + 1], t[i], 1.5)
        for i in (0, 2)
    ]
    assert result.item() == pytest.approx(sum(terms) / 2, rel=1e-12)


def test_linear_time_mmd_approaches_mmd():
    source, target = normal(0, 4000, 2), normal(1, 4000, 2) + 0.5
    quadratic = mmd(source[:1000], target[:1000], bandwidth=4.0, is_unbiased=True)
    torch.testing.assert_close(linear_time_mmd(source, target, bandwidth=4.0), quadratic, atol=0.05, rtol=0)


def test_linear_time_mmd_scales_with_its_samples():
    source, target = two_domains()
    torch.testing.assert_close(linear_time_mmd(9 * source, 9 * target), linear_time_mmd(source, target))


@pytest.mark.parametrize("loss", [mmd, linear_time_mmd])
def test_features_of_other_layers_are_refused(loss):
    unchecked = inspect.unwrap(loss)  # the tests check shapes of arguments too
    with pytest.raises(ValueError, match=r"expected equal shapes of .* source and target, got \[3\] and \[4\]"):
        unchecked(torch.zeros(5, 3), torch.zeros(5, 4))


def test_joint_mmd_refuses_features_of_other_layers():
    with pytest.raises(ValueError, match=r"expected equal shapes of .* source and target, got \[3\] and \[4\]"):
        joint_mmd([torch.zeros(5, 3)], [torch.zeros(5, 4)])


@pytest.mark.parametrize("loss", [linear_time_mmd, lambda source, target: mmd(source, target, is_unbiased=True)])
def test_one_sample_has_no_unbiased_estimate(loss):
    with pytest.raises(ValueError, match="expected 2 or more samples as target, got 1"):
        loss(torch.zeros(5, 3), torch.zeros(1, 3))


@pytest.mark.parametrize(("num_source", "num_target"), [(0, 0), (2, 1)])
def test_layers_come_in_pairs(num_source, num_target):
    layer = torch.zeros(5, 3)
    with pytest.raises(ValueError, match=f"one or more, got {num_source} and {num_target}"):
        joint_mmd([layer] * num_source, [layer] * num_target)
