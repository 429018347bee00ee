"""Coupled equations of activations and weights: limits, exact steps of the weights, and what is baked."""

import copy
import math

import pytest
import torch
from torch import nn

from lightning_edge.nn.ode.anodev2 import ODEBlock
from lightning_edge.nn.ode.weight_evolution import ReactionDiffusionAdvection, WeightEvolution
from lightning_edge.ops.ode import euler, midpoint, odeint, rk4
from lightning_edge.ops.ode_gradients import (
    binomial_checkpoint,
    block_checkpoint,
    continuous_adjoint,
    step_checkpoint,
)


def make_net():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(8, 8, 3, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.Conv2d(8, 8, 1),
    ).double()


def make_evolution(net, num_steps=10, **arguments):
    evolution = WeightEvolution(net, num_steps, **arguments).double()
    generator = torch.Generator().manual_seed(0)
    for parameter in evolution.parameters():
        parameter.data += 0.3 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    return evolution


def still(evolution):
    """The evolution that changes nothing."""
    for equation in evolution.equations.values():
        nn.init.constant_(equation.raw_diffusion, -1e3)
        nn.init.zeros_(equation.advection)
        nn.init.zeros_(equation.reaction)
        equation.nonlinearity = None
    return evolution


def random(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def equation_of(diffusion=0.0, advection=(0.0, 0.0), reaction=0.0, size=3):
    equation = ReactionDiffusionAdvection((4, 2, size, size), nonlinearity=None).double()
    shift = math.log(math.expm1(0.01))  # of the slight diffusion that it begins with
    nn.init.constant_(equation.raw_diffusion, math.log(math.expm1(diffusion)) - shift if diffusion else -1e3)
    equation.advection.data[:] = torch.tensor(advection)
    nn.init.constant_(equation.reaction, reaction)
    return equation


@pytest.mark.parametrize("size", [3, 5])
def test_advection_by_a_cell_is_a_roll(size):
    kernel = random(4, 2, size, size)
    moved = equation_of(advection=(1.0, -1.0), size=size)(kernel, 1.0)
    torch.testing.assert_close(moved, kernel.roll((-1, 1), (2, 3)))


def test_reaction_is_growth_and_diffusion_keeps_the_mean():
    kernel = random(4, 2, 3, 3)
    torch.testing.assert_close(equation_of(reaction=0.7)(kernel, 2.0), math.exp(1.4) * kernel)
    spread = equation_of(diffusion=100.0)(kernel, 1.0)
    torch.testing.assert_close(spread, kernel.mean((2, 3), keepdim=True).expand_as(kernel))


def test_the_linear_part_is_exact_whatever_the_step():
    equation, kernel = equation_of(0.3, (0.2, -0.4), -0.5), random(4, 2, 3, 3)
    many = kernel
    for _ in range(10):
        many = equation(many, 0.1)
    torch.testing.assert_close(many, equation(kernel, 1.0))


def test_the_linear_part_is_that_of_the_equation():
    """Against its derivatives by finite differences of a smooth kernel in time and of its Fourier series in space."""
    equation, size = equation_of(0.3, (0.2, -0.4), -0.5, size=8), 8
    y, x = (2 * math.pi * torch.arange(size, dtype=torch.float64) / size).view(2 * [1] + [size, 1]), None
    x = y.transpose(2, 3)
    unit = 2 * math.pi / size
    kernel = (torch.cos(y) + torch.sin(2 * x)).expand(4, 2, size, size)
    laplacian = -(unit**2) * torch.cos(y) - (2 * unit) ** 2 * torch.sin(2 * x)
    slope_y, slope_x = -unit * torch.sin(y), 2 * unit * torch.cos(2 * x)
    expected = (0.3 * laplacian + 0.2 * slope_y - 0.4 * slope_x - 0.5 * kernel).expand_as(kernel)
    rate = (equation(kernel, 1e-4) - equation(kernel, -1e-4)) / 2e-4
    torch.testing.assert_close(rate, expected, rtol=1e-6, atol=1e-6)


def test_every_filter_may_have_coefficients_of_its_own():
    equation = ReactionDiffusionAdvection((3, 2, 3, 3), per_channel=True, nonlinearity=None)
    equation.reaction.data = torch.tensor([0.0, 1.0, 2.0])
    nn.init.constant_(equation.raw_diffusion, -1e3)
    kernel = torch.ones(3, 2, 3, 3)
    torch.testing.assert_close(equation(kernel, 1.0)[:, 0, 0, 0], torch.tensor([0.0, 1.0, 2.0]).exp())


def test_weights_may_follow_another_equation():
    class Decay(nn.Module):
        def __init__(self, shape):
            super().__init__()
            self.rate = nn.Parameter(torch.full(shape[:1], 0.5, dtype=torch.float64))

        def forward(self, kernel, duration):
            return kernel * torch.exp(-duration * self.rate)[:, None, None, None]

    net = make_net()
    block = ODEBlock(net, 2, WeightEvolution(net, 4, Decay), weights_first=True)
    ends = {name: weight * math.exp(-0.5) for name, weight in net.named_parameters() if weight.shape[2:] == (3, 3)}
    state = random(2, 8, 6, 6)
    expected = odeint(lambda time, z: torch.func.functional_call(net, ends, (z,)), state, 2)
    torch.testing.assert_close(block(state), expected)
    block(state).sum().backward()
    assert block.evolution.equations["0-weight"].rate.grad.abs().max() > 0


def test_weights_that_stand_still_make_it_anode():
    net, state = make_net(), random(2, 8, 6, 6)
    expected = odeint(lambda time, state: net(state), state, 4, rk4)
    for weights_first in (False, True):
        block = ODEBlock(net, 4, still(make_evolution(net)), weights_first, rk4)
        torch.testing.assert_close(block(state), expected)


def test_one_step_is_a_residual_block():
    net, state = make_net().eval(), random(2, 8, 6, 6)
    torch.testing.assert_close(ODEBlock(net)(state), state + net(state), rtol=0, atol=0)


def test_activations_and_weights_advance_together():
    """With as many steps, the activations of a step see the weights at its begin."""
    net, state = make_net().eval(), random(2, 8, 6, 6)
    evolution = make_evolution(net, 3)
    passed = evolution({"0.weight": net[0].weight, "3.weight": net[3].weight})
    expected = state
    for weights in passed[:3]:
        now = copy.deepcopy(net)
        now.load_state_dict(weights, strict=False)
        expected = expected + now(expected) / 3
    torch.testing.assert_close(ODEBlock(net, 3, evolution)(state), expected)


def test_between_steps_weights_are_interpolated():
    net, state = make_net().eval(), random(2, 8, 6, 6)
    evolution = make_evolution(net, 1)
    begin, end = evolution({"0.weight": net[0].weight, "3.weight": net[3].weight})
    middle = copy.deepcopy(net)
    middle.load_state_dict({name: (begin[name] + end[name]) / 2 for name in begin}, strict=False)
    first = state + net(state) / 2
    torch.testing.assert_close(ODEBlock(net, 1, evolution, step=midpoint)(state), state + middle(first))


def test_a_memory_averages_what_has_passed():
    net = make_net()
    weights = {"0.weight": net[0].weight, "3.weight": net[3].weight}
    plain, remembered = make_evolution(net, 4), make_evolution(net, 4, memory=lambda age: 1.0)
    passed = [w["0.weight"] for w in plain(weights)]
    expected = torch.trapezoid(torch.stack(passed), dx=0.25, dim=0)
    torch.testing.assert_close(remembered(weights)[-1]["0.weight"], expected)
    assert remembered(weights)[0]["0.weight"].count_nonzero() == 0  # nothing has passed
    sharp = make_evolution(net, 4, memory=lambda age: 8.0 if age == 0 else 0.0)(weights)
    torch.testing.assert_close(sharp[-1]["0.weight"], passed[-1])


@pytest.mark.parametrize("weights_first", [False, True])
@pytest.mark.parametrize("gradient", [block_checkpoint, step_checkpoint, binomial_checkpoint])
def test_checkpoints_give_the_gradient_of_both_equations(weights_first, gradient):
    results = []
    for way in (None, gradient):
        net, state = make_net(), random(2, 8, 6, 6).requires_grad_()
        block = ODEBlock(net, 3, make_evolution(net), weights_first, midpoint, way)
        block(state).square().sum().backward()
        results.append([state.grad, *(p.grad for p in block.parameters()), *block.buffers()])
    for expected, got in zip(*results, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-10)


def test_a_baked_block_is_a_plain_net_with_equal_scores():
    net, state = make_net(), random(2, 8, 6, 6)
    block = ODEBlock(net, 1, make_evolution(net), weights_first=True)
    block(state)  # so that batch norm has seen something
    block.eval()
    baked = block.bake()
    torch.testing.assert_close(baked(state), block(state), rtol=0, atol=0)
    assert {name for name, _ in baked.named_parameters()} == {f"net.{name}" for name, _ in net.named_parameters()}
    assert not torch.equal(baked.net[0].weight, net[0].weight)
    assert not baked.training


@pytest.mark.parametrize(("step", "error"), [(euler, 1e-9), (midpoint, 1e-9), (rk4, 0.02)])
def test_batch_norms_may_note_each_time_on_its_own(step, error):
    net, state = make_net(), random(4, 8, 6, 6)
    for norm in (net[1], net[4]):
        norm.momentum = 1.0  # so that a pass notes itself alone
    shared, by_time = ODEBlock(net, 3, step=step), ODEBlock(copy.deepcopy(net), 3, step=step, norm_by_time=True)
    trained = by_time(state)
    torch.testing.assert_close(shared(state), trained, rtol=0, atol=0)
    for name, noted in by_time.named_buffers():
        if name.endswith("running_var"):  # noted as an estimate, by one value fewer than it is normalized by
            noted.mul_(1 - 1 / (4 * 6 * 6))
    # two evaluations of RK4 at each middle share statistics
    torch.testing.assert_close(by_time.eval()(state), trained, rtol=0, atol=error)
    assert (shared.eval()(state) - trained).abs().max() > 0.1


def test_at_a_time_that_no_step_looks_at_the_latest_before_counts():
    blocks = [
        ODEBlock(make_net(), 2, gradient=gradient, norm_by_time=by_time)
        for gradient, by_time in ((None, True), (continuous_adjoint, True), (continuous_adjoint, False))
    ]
    gradients = []
    for block in blocks:
        for _ in range(100):
            block(random(4, 8, 6, 6))
        image = random(4, 8, 6, 6).requires_grad_()
        block.eval()(image).square().sum().backward()
        gradients.append(image.grad)
    exact, by_time, shared = gradients
    assert (by_time - exact).norm() < 1.1 * (shared - exact).norm()  # the adjoint is off without by_time too


def test_no_name_takes_the_statistics_of_another():
    net = make_net()
    norms = nn.ModuleDict({"a_b": net[1], "a": nn.ModuleDict({"b": net[4]})})

    class Field(nn.Module):
        def __init__(self):
            super().__init__()
            self.norms = norms

        def forward(self, state):
            return self.norms["a"]["b"](self.norms["a_b"](state) + 1)

    block = ODEBlock(Field(), norm_by_time=True)
    assert sum(name.endswith("running_mean") for name in block.state_dict()) == 2


def test_statistics_of_each_time_come_back_from_a_checkpoint():
    block, other = (ODEBlock(make_net(), 2, norm_by_time=True) for _ in range(2))
    block(random(4, 8, 6, 6))
    other.load_state_dict(block.state_dict())
    torch.testing.assert_close(other.eval()(random(1, 8, 6, 6)), block.eval()(random(1, 8, 6, 6)), rtol=0, atol=0)
    with pytest.raises(RuntimeError, match="running_mean"):
        ODEBlock(make_net(), 2).load_state_dict(block.state_dict())


@pytest.mark.parametrize("gradient", [block_checkpoint, step_checkpoint, binomial_checkpoint])
def test_a_checkpoint_notes_each_time_once(gradient):
    blocks = [ODEBlock(make_net(), 4, gradient=way, norm_by_time=True) for way in (None, gradient)]
    for block in blocks:
        block(random(2, 8, 6, 6).requires_grad_()).sum().backward()
    for (name, noted), (_, again) in zip(*(block.named_buffers() for block in blocks), strict=True):
        torch.testing.assert_close(noted, again, rtol=0, atol=0, msg=name)


def test_what_is_baked_keeps_the_statistics_of_each_time():
    net, state = make_net(), random(2, 8, 6, 6)
    block = ODEBlock(net, 2, make_evolution(net), weights_first=True, norm_by_time=True)
    block(state)
    block.eval()
    torch.testing.assert_close(block.bake()(state), block(state), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ODEBlock(make_net(), 0), "expected num_steps of at least 1, got 0"),
        (lambda: WeightEvolution(make_net(), 0), "expected num_steps of at least 1, got 0"),
        (lambda: ODEBlock(make_net()).bake(), "expected a block whose weights evolve"),
        (lambda: ODEBlock(nn.Conv2d(8, 1, 1))(torch.rand(1, 8, 2, 2)), "the activations, .*8, 2, 2.*got .*1, 2, 2"),
        (lambda: WeightEvolution(nn.Conv2d(3, 3, 1)), "expected a net with spatial convolutions, got Conv2d without"),
        (lambda: ODEBlock(make_net(), weights_first=True), "expected an evolution with weights_first"),
        (lambda: ODEBlock(make_net(), 1, WeightEvolution(make_net())).bake(), "without weights_first"),
        (lambda: ODEBlock(nn.GroupNorm(2, 8), norm_by_time=True), "norm_by_time expected .*, got GroupNorm without"),
    ],
)
def test_mistakes_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
