"""What timm asks of the nets that it knows by name, of all nets of this library, by timm's own registry."""

import jaxtyping
import pytest
import timm
import torch
from timm.models import create_feature_extractor

import lightning_edge.nn  # noqa: F401 (gives timm their names)

NAMES = timm.list_models(module=["cifar_resnet", "ode_nets", "shift", "shiftnet", "small_resnet"])
SMALL = [name for name in NAMES if not name.endswith(("56", "110"))]  # the deeper ones have more of the same blocks
EVOLVING = {"num_steps": 2, "weight_steps": 4}


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.fixture
def proxies_pass(monkeypatch):
    """The tests check the types of all arguments, and what ``torch.fx`` traces with is no tensor."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


def make(name, **options):
    return timm.create_model(name, **options).eval()


def image_for(net, batch=1):
    """Of the net's own size, or of a part of it, and the size of the features that its configuration promises."""
    size, pool = net.default_cfg["input_size"], net.default_cfg["pool_size"]
    divisor = 1 if size[-1] == 32 else 7  # 224 pixels take long, and 32 of 7 cells are one
    image = torch.rand(batch, size[0], size[1] // divisor, size[2] // divisor)
    return image, (pool[0] // divisor, pool[1] // divisor)


def test_all_nets_are_registered():
    assert len(NAMES) == 17
    assert all("untrained" in timm.models.get_arch_pretrained_cfgs(name).popitem()[0] for name in NAMES)


@pytest.mark.parametrize("name", SMALL)
@torch.inference_mode()
def test_the_head_is_made_of_features_and_a_last_layer(name):
    net = make(name, num_classes=5)
    image, size = image_for(net)
    features = net.forward_features(image)
    assert features.shape == (1, net.num_features, *size)
    before_last = net.forward_head(features, pre_logits=True)
    assert before_last.shape == (1, net.head_hidden_size)
    scores = net(image)
    assert scores.shape == (1, 5)
    torch.testing.assert_close(net.get_classifier()(before_last), scores)
    net.reset_classifier(0)
    assert (net.num_classes, net(image).shape) == (0, before_last.shape)
    torch.testing.assert_close(net(image), before_last)
    net.reset_classifier(0, "")
    torch.testing.assert_close(net(image), features)
    net.reset_classifier(3, "avg")
    assert (net.num_classes, net(image).shape) == (3, (1, 3))


@pytest.mark.parametrize("name", SMALL)
@torch.inference_mode()
def test_without_classes_a_net_gives_what_the_last_layer_would_see(name):
    net, features = make(name, num_classes=0), make(name, num_classes=0, global_pool="")
    image, size = image_for(net)
    assert net(image).shape == (1, net.head_hidden_size)
    assert features(image).shape == (1, net.num_features, *size)


@pytest.mark.parametrize("name", NAMES)
def test_the_configuration_names_layers_and_channels_of_the_net(name):
    net = timm.create_model(name, device="meta", dtype=torch.float64)
    config, state = net.default_cfg, net.state_dict()
    assert state[f"{config['classifier']}.weight"].shape == (config["num_classes"], net.head_hidden_size)
    assert state[f"{config['first_conv']}.weight"].shape[1] == config["input_size"][0] == net.in_chans
    values = [value for value in state.values() if value.is_floating_point()]
    assert {(value.device.type, value.dtype) for value in values} == {("meta", torch.float64)}
    images = torch.empty(2, *config["input_size"], device="meta", dtype=torch.float64)
    assert net.eval()(images).shape == (2, config["num_classes"])
    with pytest.raises(TypeError, match="no_such_argument"):
        timm.create_model(name, device="meta", no_such_argument=1)


@pytest.mark.parametrize("name", SMALL)
def test_a_new_last_layer_is_like_the_rest_of_the_net(name):
    net = make(name).to("meta", torch.float64)
    net.reset_classifier(2)
    weight = net.get_classifier().weight
    assert (weight.shape[0], weight.device.type, weight.dtype) == (2, "meta", torch.float64)
    assert not any(module.training for module in net.modules())


@pytest.mark.parametrize("name", SMALL)
@torch.inference_mode()
def test_three_maps_or_more_have_the_promised_channels_and_sizes(name):
    net = make(name, features_only=True)
    image, _ = image_for(net)
    maps, info = net(image), net.feature_info
    assert len(maps) >= 3
    sizes = [
        (width, image.shape[-2] // stride) for width, stride in zip(info.channels(), info.reduction(), strict=True)
    ]
    assert [(one.shape[1], one.shape[2]) for one in maps] == sizes


@pytest.mark.usefixtures("proxies_pass")
@pytest.mark.parametrize(("name", "options"), [(name, {}) for name in SMALL] + [("ode_resnet10", EVOLVING)])
def test_torch_fx_traces_the_same_scores_and_gradients(name, options):
    net = timm.create_model(name, num_classes=5, **options).double()
    image = image_for(net, batch=2)[0].double()
    traced = torch.fx.symbolic_trace(net)
    results = []
    for one in (net.eval(), traced.eval()):
        scores = one(image)
        scores.square().sum().backward()
        results.append((scores, {key: value.grad.clone() for key, value in net.named_parameters()}))
        net.zero_grad()
    torch.testing.assert_close(results[1], results[0], rtol=1e-9, atol=1e-9)
    assert {name for name, _ in traced.named_parameters()} == {name for name, _ in net.named_parameters()}


@pytest.mark.usefixtures("proxies_pass")
@pytest.mark.parametrize("name", SMALL)
@torch.inference_mode()
def test_timm_extracts_the_maps_of_a_traced_net(name):
    torch.manual_seed(0)
    expected = make(name, features_only=True)
    torch.manual_seed(0)
    net = make(name)
    image, _ = image_for(net)
    nodes = {module: str(index) for index, module in enumerate(expected.feature_info.module_name())}
    maps = create_feature_extractor(net, nodes)(image)
    for actual, wanted in zip(maps.values(), expected(image), strict=True):
        torch.testing.assert_close(actual, wanted)


def test_an_unknown_pooling_is_named():
    with pytest.raises(ValueError, match="expected global_pool 'avg' or '', got 'max'"):
        timm.create_model("cifar_resnet20", global_pool="max")


@pytest.mark.parametrize(
    ("num_classes", "pool", "message"),
    [
        (3, "max", "expected global_pool 'avg' or '', got 'max'"),
        (-1, "", "expected num_classes of at least 0, got -1"),
    ],
)
@torch.inference_mode()
def test_a_last_layer_that_is_refused_leaves_the_net_unchanged(num_classes, pool, message):
    net = make("cifar_resnet20", num_classes=5)
    image = torch.rand(1, 3, 32, 32)
    outputs = net(image)
    with pytest.raises(ValueError, match=message):
        net.reset_classifier(num_classes, pool)
    assert (net.num_classes, net.global_pool) == (5, "avg")
    torch.testing.assert_close(net(image), outputs, rtol=0, atol=0)
