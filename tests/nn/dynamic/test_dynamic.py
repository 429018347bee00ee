"""Layers of experts: what they mix by, and that a batch of several domains is each of its images."""

import copy

import pytest
import torch
from domain_layers import FEATURES, make_layer, run
from timm.layers import Conv2dSame
from torch import nn

from lightning_edge.nn.conditioning import in_domain
from lightning_edge.nn.dynamic.experts import CondConv2d, DomainConv2d


@pytest.mark.parametrize("gate", ["sigmoid", "softmax"])
@pytest.mark.parametrize("num_experts", [1, 2, 3, 4])
def test_equal_gates_give_the_convolution_that_was(num_experts, gate):
    conv, layer = make_layer(num_experts=num_experts, gate=gate)
    nn.init.zeros_(layer.router.weight)
    image = torch.rand(2, 4, 7, 7)
    torch.testing.assert_close(run(layer, image, torch.rand(FEATURES)), conv(image))
    weights = layer.weight.unflatten(0, (num_experts, 6))
    if num_experts > 1:
        assert (weights[0] - weights[1]).std() > 0.5 * weights.std()  # experts differ


@pytest.mark.parametrize("gate", ["sigmoid", "softmax"])
def test_all_domains_begin_near_the_convolution_that_was(gate):
    """As in the released code: the router's weights have a deviation of 0.01, so that no gate is near an end."""
    torch.manual_seed(0)
    conv, embedding = nn.Conv2d(4, 6, 3, padding=1), torch.randn(8, 64)  # standardized features
    layer = DomainConv2d(conv, 4, 64, gate)
    assert float(layer.router.weight.detach().std()) == pytest.approx(0.01, rel=0.2)
    assert not layer.router.bias.any()
    middle = 0.5 if gate == "sigmoid" else 1 / 4
    gates = layer.gates(embedding)
    torch.testing.assert_close(gates, torch.full_like(gates, middle), rtol=0.2, atol=0)
    assert (gates[0] - gates[1]).abs().max() > 0.001  # and each domain has its own
    image = torch.rand(8, 4, 7, 7)
    error = (run(layer, image, embedding) - conv(image)).std() / conv(image).std()
    assert error < 0.15


def test_one_expert_under_softmax_is_the_static_layer_in_every_domain():
    conv, layer = make_layer(num_experts=1, gate="softmax")
    image = torch.rand(2, 4, 7, 7)
    torch.testing.assert_close(run(layer, image, torch.randn(2, FEATURES)), conv(image))


@pytest.mark.parametrize(
    "settings",
    [{}, {"stride": 2}, {"groups": 2}, {"dilation": 2}, {"padding": "same"}, {"bias": False}, {"padding": 0}],
    ids=str,
)
def test_a_mixed_batch_is_each_of_its_images(settings):
    _, layer = make_layer(**settings)
    image, embedding = torch.rand(5, 4, 7, 7), torch.randn(3, FEATURES)[[0, 2, 0, 1, 2]]
    together = run(layer, image, embedding)
    alone = torch.cat([run(layer, image[i : i + 1], embedding[i]) for i in range(5)])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-6)
    assert (alone[0] - run(layer, image[:1], embedding[1])).abs().max() > 0.1  # domains do differ


def test_padding_as_of_tensorflow_stays():
    conv, layer = make_layer(Conv2dSame, stride=2)
    nn.init.zeros_(layer.router.weight)
    image = torch.rand(3, 4, 7, 8)
    torch.testing.assert_close(run(layer, image, torch.zeros(3, FEATURES)), conv(image))


def test_gates_follow_the_paper():
    _, layer = make_layer(temperature=2.0)
    embedding = torch.randn(2, FEATURES)
    scores = embedding @ layer.router.weight.T + layer.router.bias
    torch.testing.assert_close(layer.gates(embedding), torch.sigmoid(scores / 2))
    weights = layer.weight.unflatten(0, (4, 6))
    expected = (torch.sigmoid(scores[1] / 2).view(-1, 1, 1, 1, 1) * weights).sum(0)
    torch.testing.assert_close(layer.mixed_weight(embedding)[1], expected)
    _, layer = make_layer(gate="softmax")
    torch.testing.assert_close(layer.gates(embedding).sum(1), torch.ones(2))


def test_an_unknown_domain_is_one_of_zeros_and_said():
    _, layer = make_layer()
    image = torch.rand(2, 4, 7, 7)
    with pytest.warns(UserWarning, match="No domain embedding given"):
        actual = layer(image)
    torch.testing.assert_close(actual, run(layer, image, torch.zeros(FEATURES)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_experts": 0}, "expected num_experts of at least 1, got 0"),
        ({"num_features": 0}, "expected num_features of at least 1, got 0"),
        ({"temperature": 0.0}, "expected temperature above 0, got 0"),
    ],
)
def test_bad_arguments_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        DomainConv2d(nn.Conv2d(4, 6, 3), **{"num_experts": 2, "num_features": 3} | change)
    with pytest.raises(ValueError, match="pads with zeros, got padding_mode='reflect'"):
        DomainConv2d(nn.Conv2d(4, 6, 3, padding=1, padding_mode="reflect"), 2, 3)


def test_all_experts_and_the_router_learn():
    _, layer = make_layer()
    run(layer, torch.rand(3, 4, 7, 7), torch.randn(3, FEATURES)).square().sum().backward()
    assert (layer.weight.grad.unflatten(0, (4, 6)).flatten(1).abs().sum(1) > 0).all()
    assert (layer.router.weight.grad.abs().sum(1) > 0).all()


def test_other_types_and_memory_formats():
    _, layer = make_layer()
    image, embedding = torch.rand(3, 4, 7, 7), torch.randn(3, FEATURES)
    expected = run(layer, image, embedding)
    last = copy.deepcopy(layer).to(memory_format=torch.channels_last)
    torch.testing.assert_close(run(last, image.to(memory_format=torch.channels_last), embedding), expected)
    double = copy.deepcopy(layer).double()
    torch.testing.assert_close(run(double, image.double(), embedding), expected.double(), rtol=1e-5, atol=1e-5)
    with torch.autocast("cpu", torch.bfloat16):
        actual = run(layer, image, embedding)
    torch.testing.assert_close(actual.float(), expected, rtol=0.05, atol=0.05)


@pytest.mark.parametrize("rows", [1, 3])
def test_outputs_have_one_type_whatever_the_number_of_domains(rows):
    _, layer = make_layer()
    with torch.autocast("cpu", torch.bfloat16):
        assert (
            run(layer, torch.rand(3, 4, 7, 7), torch.randn(rows, FEATURES).repeat(3 // rows, 1)).dtype == torch.bfloat16
        )


@pytest.mark.parametrize("side", [2, 12])
def test_outputs_have_the_type_of_the_image_whatever_its_size(side):
    layer = DomainConv2d(nn.Conv2d(64, 64, 3, padding=1), 4, FEATURES)
    image = torch.rand(3, 64, side, side, dtype=torch.bfloat16)
    assert run(layer.to(torch.bfloat16), image, torch.eye(FEATURES)).dtype == torch.bfloat16


def test_copies_and_empty_batches_and_frozen_layers():
    _, layer = make_layer()
    with in_domain(layer, torch.randn(FEATURES)):
        assert copy.deepcopy(layer).domains is None
        assert layer.domains is not None
    assert run(layer, torch.rand(0, 4, 7, 7), torch.randn(0, FEATURES)).shape == (0, 6, 7, 7)
    frozen = DomainConv2d(nn.Conv2d(4, 6, 3).requires_grad_(False), 2, FEATURES)
    assert not any(parameter.requires_grad for parameter in frozen.parameters())


def test_the_static_layer_needs_no_domain(recwarn):
    _, layer = make_layer(num_experts=1, gate="softmax")
    layer(torch.rand(1, 4, 7, 7))
    assert not recwarn.list


def test_conditional_convolutions_mix_for_each_image_by_itself():
    torch.manual_seed(0)
    layer = CondConv2d(nn.Conv2d(4, 6, 3, padding=1), 3, 4)
    nn.init.normal_(layer.router.weight, std=3)
    image = torch.rand(4, 4, 7, 7)
    alone = torch.cat([layer(one) for one in image.split(1)])
    torch.testing.assert_close(layer(image), alone, rtol=1e-5, atol=1e-6)
    gates, row = layer.gates_of(image)
    torch.testing.assert_close(gates, layer.gates(image.mean((2, 3))))
    assert row.tolist() == [0, 1, 2, 3]
    assert gates.std(0).min() > 0


@pytest.mark.parametrize("kind", [nn.Conv2d, Conv2dSame])
@pytest.mark.parametrize("gate", ["sigmoid", "softmax"])
def test_gradients_of_a_mixed_batch_are_those_of_its_images(kind, gate):
    _, layer = make_layer(kind, gate=gate, stride=2)
    layer.double()
    image = torch.rand(5, 4, 7, 8, dtype=torch.float64)
    embedding = torch.randn(3, FEATURES, dtype=torch.float64)[[0, 2, 0, 1, 2]]
    together = run(layer, image, embedding)
    alone = torch.cat([run(layer, image[i : i + 1], embedding[i]) for i in range(5)])
    torch.testing.assert_close(together, alone, rtol=1e-10, atol=1e-10)
    factor = torch.rand_like(alone)
    gradients = [torch.autograd.grad((actual * factor).sum(), list(layer.parameters())) for actual in (together, alone)]
    torch.testing.assert_close(*gradients, rtol=1e-10, atol=1e-10)


def test_a_state_dict_is_all_there_is_to_a_layer():
    _, layer = make_layer()
    other = DomainConv2d(nn.Conv2d(4, 6, 3, padding=1), 4, FEATURES)
    other.load_state_dict(layer.state_dict())
    image, embedding = torch.rand(2, 4, 7, 7), torch.randn(2, FEATURES)
    assert torch.equal(run(other, image, embedding), run(layer, image, embedding))


@pytest.mark.parametrize(("num_experts", "gate"), [(2, "softmax"), (1, "sigmoid")])
def test_only_the_static_layer_goes_without_a_warning(num_experts, gate):
    _, layer = make_layer(num_experts=num_experts, gate=gate)
    with pytest.warns(UserWarning, match="No domain embedding given"):
        layer(torch.rand(1, 4, 7, 7))


def test_conditional_convolutions_are_as_if_told_what_they_see():
    """CondConv is the domain layer whose embedding is the mean of its input; gradients go through the router, too."""
    torch.manual_seed(0)
    layer = CondConv2d(nn.Conv2d(4, 6, 3, padding=1), 3, 4).double()
    nn.init.normal_(layer.router.weight, std=3)
    told = DomainConv2d(nn.Conv2d(4, 6, 3, padding=1), 3, 4).double()
    told.load_state_dict(layer.state_dict())
    image = torch.rand(3, 4, 7, 7, dtype=torch.float64)
    actual, expected = layer(image), run(told, image, image.mean((2, 3)))
    torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-10)
    for net, output in ((layer, actual), (told, expected)):
        output.square().sum().backward()
        assert net.router.weight.grad.abs().min() > 0
    torch.testing.assert_close(layer.router.weight.grad, told.router.weight.grad, rtol=1e-10, atol=1e-10)
