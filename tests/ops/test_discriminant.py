"""Directions in which groups lie apart."""

import pytest
import torch

from lightning_edge.ops.discriminant import discriminant_map


def groups(count, seed=0):
    """Two groups that differ in the first of two features, which both vary with what the second shows alone."""
    generator = torch.Generator().manual_seed(seed)
    group = torch.arange(count) % 2
    common, own = torch.randn(2, count, generator=generator)
    return torch.stack([group + 2 * common + 0.3 * own, 2 * common], 1), group


def share_of_nearest(features, group, other, other_group):
    means = torch.stack([features[group == index].mean(0) for index in (0, 1)])
    return (torch.cdist(other, means).argmin(1) == other_group).float().mean()


def test_what_varies_with_all_samples_hides_no_group():
    (features, group), (other, other_group) = groups(2000), groups(2000, seed=1)
    assert share_of_nearest(features, group, other, other_group) < 0.6
    apart = discriminant_map(features, group)
    assert share_of_nearest(features @ apart.T, group, other @ apart.T, other_group) > 0.8


def test_of_many_samples_deviations_within_are_those_of_the_shrunk_covariance():
    torch.manual_seed(0)
    features = torch.randn(20_000, 3) @ torch.randn(3, 3) + 5 * torch.eye(3)[torch.arange(20_000) % 3]
    group = torch.arange(20_000) % 3
    apart = discriminant_map(features, group)
    within = torch.cat([features[group == index] - features[group == index].mean(0) for index in range(3)])
    covariance = within.T @ within / len(within)
    shrunk = 0.8 * covariance + 0.2 * covariance.diagonal().mean() * torch.eye(3)
    torch.testing.assert_close(apart @ shrunk @ apart.T, torch.eye(3), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("features", [torch.eye(4), torch.ones(4, 3), torch.randn(4, 50)])
def test_too_few_samples_and_none_that_vary_give_a_map(features):
    assert torch.isfinite(discriminant_map(features, torch.tensor([0, 1, 3, 3]))).all()


@pytest.mark.parametrize("features", [torch.zeros(0, 3), torch.tensor([[0.0, torch.nan]])])
def test_what_gives_no_map_is_refused(features):
    with pytest.raises(ValueError, match=r"expected finite features of one sample or more, got \["):
        discriminant_map(features, torch.zeros(len(features), dtype=torch.int64))


def test_groups_of_one_sample_stay_where_they_are():
    assert torch.equal(discriminant_map(torch.randn(5, 3), torch.arange(5)), torch.eye(3))


def test_deviations_are_those_of_groups_of_any_size():
    torch.manual_seed(0)
    features = torch.randn(4000, 2)
    apart = discriminant_map(features, torch.arange(4000) // 2)
    torch.testing.assert_close(apart, torch.eye(2), atol=0.1, rtol=0)
