"""The estimates against the gradients of all examples, in every order that they can be drawn in."""

from itertools import pairwise, permutations

import pytest
import torch

from lightning_edge.ops.gradient_noise import gradient_noise


def estimate(gradients, bounds):
    """From the means of consecutive parts."""
    means = torch.stack([gradients[start:stop].mean(0) for start, stop in pairwise(bounds)])
    inverse = torch.tensor([1 / (stop - start) for start, stop in pairwise(bounds)], dtype=torch.float64)
    squares = means.square().sum(1)
    count = torch.tensor(float(len(means)), dtype=torch.float64)
    return gradient_noise(squares.mean(), means.mean(0).square().sum(), inverse.mean(), count)


@pytest.mark.parametrize("bounds", [range(6), (0, 2, 4), (0, 1, 5), (0, 1, 3, 5)], ids=str)
def test_estimates_average_to_the_truth_of_the_examples(bounds):
    """Over all orders: the sample variance, and the squared mean without what the variance adds to it."""
    generator = torch.Generator().manual_seed(0)
    gradients = torch.randn(5, 3, generator=generator, dtype=torch.float64) + 1
    variance = gradients.var(0).sum()
    actual = [estimate(gradients[list(order)], bounds) for order in permutations(range(5))]
    squared = gradients.mean(0).square().sum() - variance / 5
    assert torch.stack([noise.variance for noise in actual]).mean() == pytest.approx(float(variance))
    assert torch.stack([noise.squared_gradient for noise in actual]).mean() == pytest.approx(float(squared))
