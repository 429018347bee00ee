"""Nets with experts, and the plain nets that they become for a domain."""

import pytest
import timm
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from lightning_edge.nn.conditioning import ConditionedLayer, in_domain
from lightning_edge.nn.detection.center_detector import CenterDetector
from lightning_edge.nn.dynamic.conversion import convert_to_condconv, convert_to_domains, domain_weights, specialize
from lightning_edge.nn.dynamic.ddn import CondConvNet, DomainNet
from lightning_edge.nn.dynamic.experts import DomainConv2d, ExpertConv2d

FEATURES = 5
NETS = ["test_resnet", "resnet18", "mobilenetv3_small_050", "efficientnet_b0", "tf_efficientnet_lite0"]


def make_net(name):
    """A net whose domains differ much, beside one that was not converted."""
    torch.manual_seed(0)
    static = timm.create_model(name, num_classes=7).eval()
    torch.manual_seed(0)
    dynamic = timm.create_model(name, num_classes=7).eval()
    convert_to_domains(dynamic, 4, FEATURES)
    for layer in dynamic.modules():
        if isinstance(layer, DomainConv2d):
            nn.init.normal_(layer.router.weight, std=0.7)
    return static, dynamic


def shapes(net):
    return {name: tuple(value.shape) for name, value in net.state_dict().items()}


@pytest.mark.parametrize("name", NETS)
def test_a_specialized_net_is_the_dynamic_one_at_the_cost_of_the_static_one(name):
    static, dynamic = make_net(name)
    image = torch.rand(2, 3, 64, 64)
    embeddings = torch.eye(FEATURES)[[0, 3]]
    actual = []
    for embedding in embeddings:
        plain = specialize(dynamic, embedding)
        with torch.no_grad(), in_domain(dynamic, embedding):
            expected = dynamic(image)
            actual.append(plain(image))
        # relative to the largest of the scores
        assert (actual[-1] - expected).abs().max() <= 1e-5 * expected.abs().max()
        assert [(key, type(module)) for key, module in plain.named_modules()] == [
            (key, type(module)) for key, module in static.named_modules()
        ]
        assert shapes(plain) == shapes(static)
        flops = []
        for net in (plain, static):
            with FlopCounterMode(display=False) as counter:
                net(image)
            flops.append(counter.get_total_flops())
        assert flops[0] == flops[1]
    assert (actual[0] - actual[1]).abs().max() > 1e-3 * actual[0].abs().max()  # domains do differ


def test_the_dynamic_net_stays_and_shares_no_memory():
    _, dynamic = make_net("test_resnet")
    before = {name: value.clone() for name, value in dynamic.state_dict().items()}
    plain = specialize(dynamic, torch.ones(FEATURES))
    for value in plain.state_dict().values():
        value.fill_(3)
    assert all(torch.equal(value, before[name]) for name, value in dynamic.state_dict().items())
    with_bias = nn.Sequential(nn.Conv2d(3, 3, 3))
    convert_to_domains(with_bias, 2, FEATURES)
    before = with_bias[0].bias.clone()
    specialize(with_bias, torch.ones(FEATURES))[0].bias.data.fill_(3)
    assert torch.equal(with_bias[0].bias, before)


def test_specializing_neither_rounds_nor_draws():
    _, dynamic = make_net("test_resnet")
    state, embedding = torch.get_rng_state(), torch.randn(FEATURES, generator=torch.Generator().manual_seed(1))
    expected = specialize(dynamic, embedding).state_dict()
    with torch.autocast("cpu", torch.bfloat16):
        actual = specialize(dynamic, embedding).state_dict()
    assert all(torch.equal(value, actual[name]) and value.dtype == torch.float32 for name, value in expected.items()
               if value.is_floating_point())  # fmt: skip
    assert torch.equal(torch.get_rng_state(), state)
    last = specialize(dynamic.to(memory_format=torch.channels_last), embedding)
    assert last(torch.rand(1, 3, 32, 32)).isfinite().all()


def test_weights_of_a_domain_are_all_that_differs():
    _, dynamic = make_net("test_resnet")
    day, night = torch.eye(FEATURES)[:2]
    plain = specialize(dynamic, day)
    missing, unexpected = plain.load_state_dict(domain_weights(dynamic, night), strict=False)
    assert not unexpected
    assert missing
    other = specialize(dynamic, night).state_dict()
    assert all(torch.equal(value, other[name]) for name, value in plain.state_dict().items())


@pytest.mark.parametrize("submodule", ["", "encoder"])
def test_a_net_for_yaml_gives_its_body_back(submodule):
    body = CenterDetector("test_resnet", 3, channels=8)
    convolutions = sum(isinstance(module, nn.Conv2d) for module in body.get_submodule(submodule).modules())
    net = DomainNet(body, FEATURES, 2, submodule)
    assert sum(isinstance(module, ExpertConv2d) for module in net.modules()) == convolutions
    assert sum(isinstance(module, nn.Conv2d) for module in net.modules()) == (0 if submodule == "" else 9)
    assert net.num_classes == 3
    assert type(specialize(net, torch.zeros(FEATURES))) is CenterDetector
    with pytest.raises(
        ValueError, match=r"expected submodule to be the name of a submodule of the net, such as \['encoder'"
    ):
        DomainNet(CenterDetector("test_resnet", 3), FEATURES, submodule="backbone")


def test_what_cannot_be_specialized_is_refused():
    net = CondConvNet(CenterDetector("test_resnet", 3, channels=8), 2, "encoder")
    with pytest.raises(ValueError, match="expected a net with DomainConv2d layers, got CondConvNet without any"):
        specialize(net, torch.zeros(FEATURES))
    _, dynamic = make_net("test_resnet")
    with pytest.raises(ValueError, match=r"expected embedding of shape \(5,\), got \(2,\)"):
        specialize(dynamic, torch.zeros(2))
    dynamic.other = OtherLayer()
    with pytest.raises(ValueError, match="only DomainConv2d layers depend on the domain, got other, a OtherLayer"):
        specialize(dynamic, torch.zeros(5))


class OtherLayer(ConditionedLayer):
    num_domain_features = 5


def test_convolutions_that_stay_are_told():
    with pytest.warns(UserWarning, match="No convolution of Linear could be converted to experts"):
        assert convert_to_domains(nn.Sequential(nn.Linear(2, 2))[0], 2, FEATURES) == 0
    net = timm.create_model("resnetv2_50", num_classes=2, conv_layer=timm.layers.StdConv2d)
    with pytest.warns(UserWarning, match="convolutions were not converted, such as .*, a StdConv2d"):
        convert_to_condconv(net, 2)


def test_weights_that_are_made_anew_at_each_call_stay():
    watched = nn.Conv2d(4, 4, 3)
    watched.register_forward_hook(lambda *args: None)
    net = nn.Sequential(nn.utils.weight_norm(nn.Conv2d(3, 4, 3)), nn.Conv2d(4, 4, 3), watched)
    with pytest.warns(UserWarning, match="2 convolutions were not converted, such as 0, a Conv2d with hooks"):
        assert convert_to_domains(net, 2, FEATURES) == 1


def test_what_is_frozen_stays_frozen():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3))
    net[0].requires_grad_(False)
    net[1].bias.requires_grad_(False)
    before = {name: parameter.requires_grad for name, parameter in net.named_parameters()}
    convert_to_domains(net, 2, FEATURES)
    night = torch.ones(FEATURES)
    first = specialize(net, night)
    assert {name: parameter.requires_grad for name, parameter in first.named_parameters()} == before
    with in_domain(net, night):
        net(torch.rand(1, 3, 8, 8)).square().sum().backward()
    torch.optim.SGD(net.parameters(), 0.1).step()
    after = specialize(net, night).named_parameters()
    assert {name: not torch.equal(value, first.get_parameter(name)) for name, value in after} == before


def test_modes_and_names_of_weights_survive():
    static, dynamic = make_net("test_resnet")
    assert not any(module.training for module in dynamic.modules())
    assert not any(module.training for module in specialize(dynamic, torch.ones(FEATURES)).modules())
    assert all(module.training for module in specialize(dynamic.train(), torch.ones(FEATURES)).modules())
    assert {name for name in dynamic.state_dict() if ".router." not in name} == set(static.state_dict())


def test_a_convolution_in_two_places_stays_one():
    net = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.ReLU())
    net.append(net[0])
    assert convert_to_domains(net, 2, FEATURES) == 1
    assert net[0] is net[2]
    embedding, image = torch.randn(FEATURES), torch.rand(1, 3, 8, 8)
    plain = specialize(net, embedding)
    assert plain[0] is plain[2]
    with in_domain(net, embedding):
        torch.testing.assert_close(plain(image), net(image))


def test_activation_checkpointing_is_refused_where_it_would_go_wrong():
    _, dynamic = make_net("resnet18")
    dynamic.set_grad_checkpointing(True)
    with in_domain(dynamic.train(), torch.randn(2, FEATURES)):
        loss = dynamic(torch.rand(2, 3, 64, 64)).sum()
    with pytest.raises(RuntimeError, match="expected no activation checkpointing in a net with DomainConv2d"):
        loss.backward()


def test_weights_are_named_as_in_the_plain_net():
    net = DomainNet(CenterDetector("test_resnet", 3, channels=8), FEATURES, 2, "encoder")
    embedding = torch.randn(FEATURES)
    plain = specialize(net, embedding).state_dict()
    weights = domain_weights(net, embedding)
    assert weights
    assert all(torch.equal(value, plain[name]) for name, value in weights.items())


@pytest.mark.parametrize("name", NETS)
def test_one_expert_under_softmax_is_the_static_net_in_every_domain(name):
    static, _ = make_net(name)
    torch.manual_seed(0)
    net = timm.create_model(name, num_classes=7).eval()
    convert_to_domains(net, 1, FEATURES, "softmax")
    for layer in net.modules():
        if isinstance(layer, DomainConv2d):
            nn.init.normal_(layer.router.weight)
    image = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad(), in_domain(net, torch.eye(FEATURES)[:2]):
        actual, expected = net(image), static(image)
    assert (actual - expected).abs().max() <= 1e-5 * expected.abs().max()


@pytest.mark.parametrize("name", ["test_resnet", "mobilenetv3_small_050", "tf_efficientnet_lite0"])
def test_a_mixed_batch_is_the_plain_nets_side_by_side(name):
    _, dynamic = make_net(name)
    image = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    embedding = torch.eye(FEATURES)[[2, 0, 2]]
    with torch.no_grad(), in_domain(dynamic, embedding):
        actual = dynamic(image)
    with torch.no_grad():
        expected = torch.cat([specialize(dynamic, embedding[i])(image[i : i + 1]) for i in range(3)])
    assert (actual - expected).abs().max() <= 1e-5 * expected.abs().max()


@pytest.mark.parametrize("name", NETS)
def test_parameters_are_as_many_and_in_the_order_of_the_static_net(name):
    static, dynamic = make_net(name)
    plain = specialize(dynamic, torch.ones(FEATURES))
    for part in ("state_dict", "named_parameters", "named_buffers"):
        ours, theirs = (list(dict(getattr(net, part)())) for net in (plain, static))
        assert ours == theirs
    assert sum(p.numel() for p in plain.parameters()) == sum(p.numel() for p in static.parameters())
    # and four sets of weights before
    static_convs = sum(conv.weight.numel() for conv in static.modules() if isinstance(conv, nn.Conv2d))
    experts = sum(layer.weight.numel() for layer in dynamic.modules() if isinstance(layer, ExpertConv2d))
    assert experts == 4 * static_convs


def test_a_plain_net_learns_by_itself():
    _, dynamic = make_net("test_resnet")
    plain = specialize(dynamic, torch.ones(FEATURES))
    plain(torch.rand(1, 3, 32, 32)).sum().backward()
    assert all(parameter.grad is not None for parameter in plain.parameters())
    assert all(parameter.grad is None for parameter in dynamic.parameters())


@pytest.mark.parametrize(
    "convert", [lambda net: convert_to_domains(net, 2, FEATURES), lambda net: convert_to_condconv(net, 2)]
)
def test_a_convolution_itself_is_refused(convert):
    with pytest.raises(ValueError, match="expected a module that contains convolutions, got a convolution"):
        convert(nn.Conv2d(3, 3, 3))
