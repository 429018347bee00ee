"""One graph takes the weights of every domain."""

import pytest
import torch
from torch import nn

from lightning_edge.nn import CenterDetector, DomainNet
from lightning_edge.nn.conditioning import in_domain
from lightning_edge.nn.dynamic.conversion import convert_to_domains, specialize
from lightning_edge.nn.dynamic.experts import DomainConv2d

pytest.importorskip("onnxscript")
from lightning_edge.systems.onnx.domains import OnnxDomains, export_domains
from lightning_edge.systems.onnx.graph import open_session, run_session

EMBEDDINGS = {"day": torch.tensor([1.0, 0]), "night": torch.tensor([0.0, 1])}


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    net = DomainNet(CenterDetector("test_resnet", 3, channels=8), 2, 3, "encoder").eval()
    for layer in net.modules():
        if isinstance(layer, DomainConv2d):
            nn.init.normal_(layer.router.weight, std=1)
    return net


@pytest.fixture(scope="module")
def folder(net, tmp_path_factory):
    folder = tmp_path_factory.mktemp("onnx") / "deeper"
    files = export_domains(net, EMBEDDINGS, folder, 64, 96)
    assert [path.name for path in files] == ["net.onnx", "day.weights.pt", "night.weights.pt"]
    return folder


def test_the_graph_is_each_domains_net(net, folder):
    image, actual = torch.rand(1, 3, 64, 96), {}
    graph = OnnxDomains(folder, "day")
    for name in ("day", "night", "day"):
        graph.switch_to(name)
        with torch.no_grad(), in_domain(net, EMBEDDINGS[name]):
            expected = net(image)
        actual[name] = graph(image)
        for ours, theirs in zip(actual[name], expected, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    assert (actual["day"][0] - actual["night"][0]).abs().max() > 1e-2


def test_convolutions_with_a_bias_take_the_weights_too(tmp_path):
    torch.manual_seed(0)
    net = nn.Sequential(*(nn.Conv2d(width, 32, 3, padding=1) for width in (3, 32))).eval()
    convert_to_domains(net, 3, 2)
    for layer in net:
        nn.init.normal_(layer.router.weight, std=2)
    export_domains(net, EMBEDDINGS, tmp_path, 16, 16, outputs=("scores",))
    graph, image = OnnxDomains(tmp_path, "day"), torch.rand(1, 3, 16, 16)
    for name in ("night", "day"):
        graph.switch_to(name)
        with torch.no_grad(), in_domain(net, EMBEDDINGS[name]):
            torch.testing.assert_close(graph(image)[0], net(image), rtol=1e-4, atol=1e-4)


def test_another_export_leaves_nothing_of_an_earlier_one(net, tmp_path):
    export_domains(net, EMBEDDINGS, tmp_path, 64, 96)
    export_domains(net, {"noon": torch.zeros(2)}, tmp_path, 64, 96)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["net.onnx", "noon.weights.pt"]
    torch.save({"encoder.other": torch.zeros(1)}, tmp_path / "alien.weights.pt")
    with pytest.raises(
        ValueError, match=r"weights that fit .*, got encoder.other of shape \[1\], but the file has none"
    ):
        OnnxDomains(tmp_path, "alien")


def test_unknown_domains_and_missing_files_are_named(net, folder, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"domain to be one of those in .*\['day', 'night'\], got 'noon'"):
        OnnxDomains(folder, "noon")
    with pytest.raises(FileNotFoundError):
        OnnxDomains(tmp_path, "day")
    with pytest.raises(ValueError, match="expected embeddings of one domain or more, got none"):
        export_domains(net, {}, tmp_path, 64, 96)


@pytest.mark.parametrize("first", ["day", "night"])
def test_a_graph_of_any_first_domain_is_the_plain_net_of_each(first, net, tmp_path):
    """Of the file alone, without weights in place of its own, too."""
    other = next(name for name in EMBEDDINGS if name != first)
    export_domains(net, {first: EMBEDDINGS[first], other: EMBEDDINGS[other]}, tmp_path, 32, 48)
    image = torch.rand(1, 3, 32, 48, generator=torch.Generator().manual_seed(0))
    own = run_session(open_session(tmp_path / "net.onnx", 1), image=image)
    assert list(own) == ["heat", "sides"]
    for name in EMBEDDINGS:
        with torch.no_grad():
            expected = specialize(net, EMBEDDINGS[name])(image)
        for ours, theirs in zip(OnnxDomains(tmp_path, name, num_threads=1)(image), expected, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
        if name == first:
            torch.testing.assert_close(own["heat"], expected[0], rtol=1e-4, atol=1e-4)


def test_a_domain_that_is_not_there_leaves_the_present_one(folder):
    graph, image = OnnxDomains(folder, "night"), torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    before = graph(image)
    with pytest.raises(FileNotFoundError, match="got 'noon'"):
        graph.switch_to("noon")
    assert graph.domain == "night"
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(graph(image), before, strict=True))


def test_weights_of_another_shape_are_named(net, tmp_path):
    export_domains(net, EMBEDDINGS, tmp_path, 32, 48)
    weights = torch.load(tmp_path / "day.weights.pt", weights_only=True)
    name = next(iter(weights))
    torch.save(weights | {name: weights[name][:1]}, tmp_path / "day.weights.pt")
    with pytest.raises(ValueError, match=rf"expected weights that fit .*net\.onnx, got {name} of shape \[1, "):
        OnnxDomains(tmp_path, "day")


def test_a_net_without_experts_is_refused(tmp_path):
    with pytest.raises(ValueError, match="expected a net with DomainConv2d layers, got Sequential without any"):
        export_domains(nn.Sequential(nn.Conv2d(3, 2, 1)), EMBEDDINGS, tmp_path, 8, 8)
    assert not list(tmp_path.iterdir())
