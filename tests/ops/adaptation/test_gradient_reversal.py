import inspect
import math

import pytest
import torch
from domain_features import normal

from lightning_edge.ops.adaptation import gradient_reversal
from lightning_edge.ops.adaptation.gradient_reversal import adaptation_factor, reverse_gradient


def gradient(function, seed=0, dtype=torch.float64):
    features = normal(seed, 4, 3).to(dtype).requires_grad_()
    function(features).square().sum().backward()
    return features.grad


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_values_stay_and_gradients_turn(dtype):
    features = normal(0, 4, 3).to(dtype)
    assert torch.equal(reverse_gradient(features, 0.5), features)
    actual = gradient(lambda x: reverse_gradient(x, 0.5), dtype=dtype)
    assert torch.equal(actual, -0.5 * gradient(lambda x: x, dtype=dtype))


def test_two_reversals_multiply():
    actual = gradient(lambda x: reverse_gradient(reverse_gradient(x, 0.5), 3.0))
    torch.testing.assert_close(actual, 1.5 * gradient(lambda x: x))


def test_one_batch_is_reversed_for_two_nets():
    features = normal(0, 4, 3).requires_grad_()
    (reverse_gradient(features, 2.0).sum() + reverse_gradient(features, 3.0).sum() + features.sum()).backward()
    assert torch.equal(features.grad, torch.full((4, 3), -4.0, dtype=torch.float64))


def test_second_derivatives_turn_too():
    features = normal(0, 3).requires_grad_()
    (first,) = torch.autograd.grad(reverse_gradient(features, 0.5).pow(3).sum(), features, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), features)
    # first is -0.5 * 3 x^2 of the reversed features, and its gradient passes them again
    torch.testing.assert_close(second, 0.5 * 0.5 * 6 * features.detach())


def test_compiled_gradients_turn_by_each_scale(monkeypatch):
    for name in ("forward", "backward"):  # the compiler cannot trace the checks of shapes
        function = inspect.unwrap(getattr(gradient_reversal._GradientReversal, name))
        monkeypatch.setattr(gradient_reversal._GradientReversal, name, staticmethod(function))
    reverse = inspect.unwrap(reverse_gradient)
    compiled = torch.compile(lambda x, scale: 2 * reverse(x, scale), backend="aot_eager", fullgraph=True)
    for scale in (0.1, 0.2, 0.3):
        actual = gradient(lambda x, scale=scale: compiled(x, scale))
        torch.testing.assert_close(actual, -4 * scale * gradient(lambda x: x))


def test_the_factor_rises_from_0_to_almost_1():
    assert adaptation_factor(0.0) == 0
    assert adaptation_factor(0.3) == pytest.approx(2 / (1 + math.exp(-3)) - 1)
    assert adaptation_factor(1.0) == pytest.approx(2 / (1 + math.exp(-10)) - 1)
    assert adaptation_factor(0.3, steepness=0.0) == 0


@pytest.mark.parametrize("progress", [-0.1, 1.1, math.nan])
def test_progress_is_between_0_and_1(progress):
    with pytest.raises(ValueError, match="expected progress of at"):
        adaptation_factor(progress)
