"""One graph takes the weights of every domain."""

import pytest
import torch
from torch import nn

from lightning_edge.nn import CenterDetector, DomainNet
from lightning_edge.nn.dynamic import DomainConv2d, in_domain

pytest.importorskip("onnxscript")
from lightning_edge.systems.onnx_domains import OnnxDomains, export_domains

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
    assert [path.name for path in files] == ["net.onnx", "day.pt", "night.pt"]
    return folder


def test_the_graph_is_each_domains_net(net, folder):
    image, found = torch.rand(1, 3, 64, 96), {}
    graph = OnnxDomains(folder, "day")
    for name in ("day", "night", "day"):
        graph.switch_to(name)
        with torch.no_grad(), in_domain(net, EMBEDDINGS[name]):
            expected = net(image)
        found[name] = graph(image)
        for ours, theirs in zip(found[name], expected, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    assert (found["day"][0] - found["night"][0]).abs().max() > 1e-2


def test_unknown_domains_and_missing_files_are_named(net, folder, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"expected domain among those of .*\['day', 'night'\], got 'noon'"):
        OnnxDomains(folder, "noon")
    with pytest.raises(FileNotFoundError):
        OnnxDomains(tmp_path, "day")
    with pytest.raises(ValueError, match="expected embeddings of one domain or more, got none"):
        export_domains(net, {}, tmp_path, 64, 96)
