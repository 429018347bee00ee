"""Nets with differential equations by name: sizes, and what their settings make of one another."""

import copy

import pytest
import timm
import torch
import torch.nn.functional as F
from torch import nn

from lightning_edge.nn.encoders.timm_models import load_timm_features
from lightning_edge.nn.ode.anodev2 import ODEBlock, baked
from lightning_edge.nn.ode.ode_nets import make_block

NAMES = ("ode_alexnet", "ode_resnet4", "ode_resnet10")
FIRST = {"num_steps": 2, "weight_steps": 10}
SECOND = {"num_steps": 1, "weight_steps": 10, "weights_first": True}


def make(name="ode_resnet4", **settings):
    """A net in float64 whose weights, statistics of norms and coefficients are none of those it began with."""
    torch.manual_seed(0)
    net = timm.create_model(name, **settings).double()
    generator = torch.Generator().manual_seed(1)
    for value in net.parameters():
        value.data += 0.1 * torch.randn(value.shape, generator=generator, dtype=value.dtype)
    for key, value in net.named_buffers():
        if key.endswith(("mean", "var")):
            value += torch.rand(value.shape, generator=generator, dtype=value.dtype)
    return net


def images(number=4):
    return torch.randn(number, 3, 32, 32, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


@pytest.mark.parametrize(
    ("name", "plain", "layers", "filters"),
    [("ode_alexnet", 1_756_682, 1, 64), ("ode_resnet4", 7_706, 2, 32), ("ode_resnet10", 44_186, 4, 96)],
)
def test_sizes(name, plain, layers, filters):
    """An equation of the weights has four coefficients for each layer, or for each of its filters."""
    count = lambda **settings: sum(p.numel() for p in timm.create_model(name, **settings).parameters())  # noqa: E731
    assert count() == count(num_steps=2) == count(gradient="continuous_adjoint") == plain
    assert count(**FIRST) == count(**SECOND) == plain + 4 * layers
    assert count(**FIRST, per_channel=True) == plain + 4 * filters


@pytest.mark.parametrize("name", NAMES)
def test_with_one_step_it_is_a_residual_net(name):
    net = make(name).eval()
    blocks = [block for block in net.modules() if isinstance(block, ODEBlock)]
    assert len(blocks) == (2 if name == "ode_resnet10" else 1)
    scores = net(images())
    for block in blocks:
        block.forward = lambda state, field=block.net: state + field(state)
    assert torch.equal(net(images()), scores)


@pytest.mark.parametrize("name", NAMES)
def test_a_field_is_convolution_norm_and_relu(name):
    """As in the code of ANODE, so that activations never fall."""
    net, seen = make(name).eval(), []
    block = next(part for part in net.modules() if isinstance(part, ODEBlock))
    block.register_forward_hook(lambda block, inputs, end: seen.extend((*inputs, end)))
    net(images())
    slope, end = seen
    convolutions = [part for part in block.net.modules() if isinstance(part, nn.Conv2d)]
    norms = [part for part in block.net.modules() if isinstance(part, nn.BatchNorm2d)]
    assert len(convolutions) == len(norms) == (1 if name == "ode_alexnet" else 2)
    for conv, norm in zip(convolutions, norms, strict=True):
        features = F.conv2d(slope, conv.weight, conv.bias, padding=2 if name == "ode_alexnet" else 1)
        slope = F.relu(F.batch_norm(features, norm.running_mean, norm.running_var, norm.weight, norm.bias))
    torch.testing.assert_close(end, seen[0] + slope, rtol=1e-12, atol=1e-12)
    assert 0 < (slope == 0).double().mean() < 1  # the last ReLU has something to do


@pytest.mark.parametrize("name", NAMES)
def test_weights_that_came_first_are_baked_into_the_plain_net(name):
    net = make(name, **SECOND).eval()
    plain = timm.create_model(name).double().eval()
    before = copy.deepcopy(net.state_dict())
    plain.load_state_dict(baked(net).state_dict())  # strict: nothing of the evolution is left
    torch.testing.assert_close(plain(images()), net(images()), rtol=1e-12, atol=1e-12)
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    unchanged = timm.create_model(name).double().eval()
    unchanged.load_state_dict({key: value for key, value in before.items() if ".evolution." not in key})
    assert not torch.allclose(unchanged(images()), net(images()))


def test_weights_that_change_while_they_are_applied_cannot_be_baked():
    with pytest.raises(ValueError, match="expected weights_first"):
        baked(make(**FIRST))


def test_a_net_without_evolution_is_baked_already():
    net = make(num_steps=2).eval()
    assert torch.equal(baked(net)(images()), net(images()))


def test_the_adjoint_goes_forward_like_anode_and_back_otherwise():
    nets = [make(num_steps=2, gradient=gradient) for gradient in ("backprop", "continuous_adjoint")]
    scores = [net(images()) for net in nets]
    assert torch.equal(*scores)
    for score in scores:
        score.square().sum().backward()
    exact, adjoint = (net.stages[0][0].net[0].weight.grad for net in nets)
    assert 0.1 < torch.cosine_similarity(exact.flatten(), adjoint.flatten(), 0) < 0.999
    torch.testing.assert_close(*(net.fc.weight.grad for net in nets))


def test_a_field_may_see_the_time():
    class Slope(nn.Module):
        def forward(self, state):
            return state[:, -1:].expand(-1, 2, -1, -1)

    for step, end in (("euler", 0.25), ("midpoint", 0.5)):  # the integral of t by two steps
        block = make_block(2, lambda channels: Slope(), num_steps=2, step=step, time_channel=True)
        torch.testing.assert_close(block(torch.zeros(1, 2, 3, 3)), torch.full((1, 2, 3, 3), end))


@pytest.mark.parametrize("settings", [FIRST, SECOND, {"num_steps": 2, "time_channel": True}])
@pytest.mark.parametrize("gradient", ["block_checkpoint", "step_checkpoint", "binomial_checkpoint"])
def test_checkpoints_change_nothing_but_memory(settings, gradient):
    plain, saving = make(**settings), make(**settings, gradient=gradient)
    for net in (plain, saving):
        net(images()).square().sum().backward()
    for (name, one), other in zip(plain.named_parameters(), saving.parameters(), strict=True):
        assert torch.equal(one.grad, other.grad), name
        assert one.grad.abs().max() > 0, name
    assert all(torch.equal(*pair) for pair in zip(plain.buffers(), saving.buffers(), strict=True))


@pytest.mark.parametrize("settings", [FIRST, SECOND, {"gradient": "continuous_adjoint", "time_channel": True}])
def test_mixed_precision(settings):
    net = make(**settings).float()
    scores = net(images().float())
    with torch.autocast("cpu", torch.bfloat16):
        mixed = net(images().float())
    torch.testing.assert_close(mixed.float(), scores, rtol=0.1, atol=0.3)
    mixed.square().sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in net.parameters())


def test_kernels_in_half_precision_evolve_in_float32():
    net, scores = make(**SECOND).float().eval(), None
    with torch.inference_mode():
        scores = net(images().float())
        torch.testing.assert_close(net.bfloat16()(images().bfloat16()).float(), scores, rtol=0.1, atol=0.5)


def test_the_decay_of_weights_draws_to_a_slight_diffusion():
    equation = make(**SECOND).stages[0][0].evolution.equations["0-weight"]
    torch.nn.init.zeros_(equation.raw_diffusion)
    assert equation.diffusion.item() == pytest.approx(0.01)


def test_statistics_of_each_time_are_a_setting():
    net = timm.create_model("ode_resnet10", num_steps=2, norm_by_time=True)
    noted = [value.shape for name, value in net.named_buffers() if "1.net" in name and name.endswith("running_mean")]
    assert noted == [(2, 16), (2, 16), (2, 32), (2, 32)]


@pytest.mark.parametrize("by_time", [True, False])
def test_features_refuse_statistics_of_another_kind(tmp_path, by_time):
    net = timm.create_model("ode_resnet10", num_steps=2, norm_by_time=not by_time)
    torch.save(net.state_dict(), tmp_path / "net.pth")
    options = {"features_only": True, "num_steps": 2}
    load_timm_features("encoder", "ode_resnet10", str(tmp_path / "net.pth"), options | {"norm_by_time": not by_time})
    with pytest.raises(ValueError, match=r"of ode_resnet10, .*running_mean"):
        load_timm_features("encoder", "ode_resnet10", str(tmp_path / "net.pth"), options | {"norm_by_time": by_time})


def test_sizes_are_counted_without_memory():
    with torch.device("meta"):
        assert timm.create_model("ode_resnet4", **FIRST)(torch.empty(2, 3, 32, 32)).shape == (2, 10)


def test_a_state_that_is_no_longer_finite_is_named():
    net = make(num_steps=2)
    with pytest.raises(FloatingPointError, match="after 2 steps, got NaN or infinity: try a finite start"):
        net(images().fill_(torch.nan))
    net.stages[0][0].net[1].weight.data.fill_(torch.inf)
    with pytest.raises(FloatingPointError, match="try more steps, smaller weights or a lower learning rate"):
        net(images())


@pytest.mark.parametrize("settings", [{}, FIRST])
def test_features_come_through_timm(settings):
    net = timm.create_model("ode_resnet10", features_only=True, **settings).eval()
    assert net.feature_info.channels() == [16, 16, 32, 32]
    assert net.feature_info.reduction() == [1, 1, 2, 16]
    sizes = [(1, 16, 64, 96), (1, 16, 64, 96), (1, 32, 32, 48), (1, 32, 4, 6)]
    assert [tuple(f.shape) for f in net(torch.rand(1, 3, 64, 96))] == sizes


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_steps": 0}, "expected num_steps of at least 1, got 0"),
        ({"weight_steps": -1}, "expected weight_steps of at least 0, got -1"),
        ({"step": "heun"}, r"expected step to be one of \['euler', 'midpoint', 'rk4'\], got 'heun'"),
        ({"gradient": "adjoint"}, "expected gradient to be one of .*'continuous_adjoint'.*got 'adjoint'"),
        ({"weights_first": True}, "expected an evolution with weights_first, got None"),
        (
            FIRST | {"gradient": "continuous_adjoint"},
            "another gradient for weights that evolve, got continuous_adjoint",
        ),
        ({"weight_steps": 10}, "expected num_steps of at least 2 for weights that evolve without weights_first"),
        ({"widths": (16,) * 4, "residual_blocks": True}, "expected 1 to 3 widths"),
        ({"widths": (16, 32)}, r"expected residual_blocks.*for widths \(16, 32\)"),
    ],
)
def test_mistakes_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        timm.create_model("ode_resnet4", **settings)
