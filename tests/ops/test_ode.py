"""Steps fall in error by their order; every way to the gradient gives that of plain backpropagation."""

import math

import pytest
import torch
from torch import nn

from lightning_edge.ops.ode import euler, midpoint, odeint, rk4, times_of
from lightning_edge.ops.ode_gradients import binomial_checkpoint, block_checkpoint, continuous_adjoint, step_checkpoint

STEPS = {euler: 1, midpoint: 2, rk4: 4}
CHECKPOINTS = [block_checkpoint, step_checkpoint, binomial_checkpoint]


def random(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


class Field(nn.Module):
    """A convolution with batch norm, that changes over time."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(4, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.num_calls = 0
        self.double()

    def forward(self, time, state):
        self.num_calls += 1
        return torch.tanh(self.norm(self.conv(state))) * (1 + time)


@pytest.mark.parametrize(
    ("step", "times"),
    [(euler, [0, 0.2, 0.4, 0.6, 0.8]), (midpoint, [n / 10 for n in range(10)]), (rk4, [n / 10 for n in range(11)])],
)
def test_times_of_steps(step, times):
    assert times_of(step, 5) == pytest.approx(times)


@pytest.mark.parametrize("step", STEPS)
def test_the_error_falls_with_the_order(step):
    matrix, start = 0.5 * random(4, 4), random(3, 4)
    exact = start @ torch.linalg.matrix_exp(matrix.T * math.sin(1.0))

    def error(num_steps):
        end = odeint(lambda time, state: state @ matrix.T * math.cos(time), start, num_steps, step)
        return (end - exact).abs().max().item()

    order = math.log2(error(32) / error(64))
    assert order == pytest.approx(STEPS[step], abs=0.15)


def test_one_euler_step_is_a_residual_block():
    field, state = Field(), random(2, 4, 5, 5)
    torch.testing.assert_close(odeint(field, state, 1), state + field(0.0, state), rtol=0, atol=0)


def test_back_in_time_comes_whence_it_began():
    state = {"place": random(3), "speed": random(3)}

    def spring(time, state):
        return {"place": state["speed"], "speed": -state["place"]}

    end = odeint(spring, state, 50, rk4, end_time=math.pi / 2)
    torch.testing.assert_close(end["place"], state["speed"], rtol=1e-6, atol=1e-6)
    begin = odeint(spring, end, 50, rk4, start_time=math.pi / 2, end_time=0.0)
    torch.testing.assert_close(begin, state, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("num_steps", [1, 2, 5])
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("gradient", CHECKPOINTS)
def test_checkpoints_change_no_gradient_and_no_statistics(gradient, step, num_steps):
    results = []
    for way in (None, gradient):
        field, start = Field(), random(2, 4, 5, 5).requires_grad_()
        end = odeint(field, start, num_steps, step, way)
        end.square().sum().backward()
        gradients = [start.grad, *(parameter.grad for parameter in field.parameters())]
        results.append([end.detach(), *gradients, *field.buffers()])
    for expected, got in zip(*results, strict=True):
        assert torch.equal(got, expected)


def test_a_state_of_several_tensors_has_gradients():
    weight, start = random(3, 3).requires_grad_(), (random(2, 3).requires_grad_(), random(3, 3).requires_grad_())

    def field(time, state):
        activation, kernel = state
        return torch.tanh(activation @ kernel), -kernel @ weight

    grads = []
    for way in (None, *CHECKPOINTS):
        activation, _ = odeint(field, start, 4, midpoint, way)
        grads.append(torch.autograd.grad(activation.sum(), [*start, weight]))
    for other in grads[1:]:
        assert all(torch.equal(got, expected) for got, expected in zip(other, grads[0], strict=True))


@pytest.mark.parametrize(
    ("gradient", "num_evaluations"),
    [(None, 8), (block_checkpoint, 16), (step_checkpoint, 23), (binomial_checkpoint, 28)],
)
def test_how_often_a_step_is_computed(gradient, num_evaluations):
    """For n steps n, 2n, 3n - 1, and 2n + n log2(n) / 2 times."""
    field = Field()
    odeint(field, random(1, 4, 5, 5).requires_grad_(), 8, euler, gradient).sum().backward()
    assert field.num_calls == num_evaluations


def test_the_adjoint_comes_close_with_many_steps_only():
    """Its error falls with the step, for it is the gradient of the exact solution."""
    errors = []
    for num_steps in (4, 8, 16):
        gradients = []
        for way in (None, continuous_adjoint):
            field, start = Field().eval(), random(2, 4, 5, 5).requires_grad_()
            odeint(field, start, num_steps, euler, way).square().sum().backward()
            gradients.append(torch.cat([start.grad.flatten(), *(p.grad.flatten() for p in field.parameters())]))
        errors.append(((gradients[1] - gradients[0]).norm() / gradients[0].norm()).item())
    assert errors[0] > 0.01
    assert errors[0] > 1.7 * errors[1] > 1.7**2 * errors[2]


def test_the_adjoint_notes_statistics_once_and_leaves_parameters_that_are_held():
    field, start = Field(), random(2, 4, 5, 5)
    field.conv.weight.requires_grad_(False)
    odeint(field, start, 3, euler, continuous_adjoint).sum().backward()
    assert field.norm.num_batches_tracked == 3
    assert field.conv.weight.grad is None
    assert field.conv.bias.grad is not None


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="expected num_steps of at least 1, got 0"):
        odeint(lambda time, state: state, torch.zeros(1), 0)
