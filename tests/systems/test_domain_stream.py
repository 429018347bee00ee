"""A stream is served by whole nets, each of one domain."""

import pytest
import torch
from torch import nn

from lightning_edge.nn import CenterDetector, DomainNet, ImageStatistics, TimmClassifier
from lightning_edge.nn.dynamic import DomainConv2d
from lightning_edge.nn.dynamic_conversion import convert_to_domains, specialise
from lightning_edge.systems import DomainStream, DomainWatcher

EMBEDDINGS = torch.eye(3)
LIGHT = (0.1, 0.5, 0.9)


def make_net():
    torch.manual_seed(0)
    net = TimmClassifier("test_resnet", 5)
    convert_to_domains(net, 3, 3)
    for layer in net.modules():
        if isinstance(layer, DomainConv2d):
            nn.init.normal_(layer.router.weight, std=1)
    return net.eval()


def make_stream(net, **arguments):
    encoder = ImageStatistics((1, 1))
    centers = torch.cat([encoder(frame(light)[None]) for light in LIGHT])
    return DomainStream(net, encoder, DomainWatcher(centers, momentum=0.0, patience=2), EMBEDDINGS, **arguments)


def frame(light, seed=0):
    noise = torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(seed))
    return (light + 0.1 * (noise - 0.5)).clamp(0, 1)


@pytest.mark.parametrize("layers_per_frame", [0, 1, 4, 100])
def test_each_frame_is_served_by_a_whole_net(layers_per_frame):
    net = make_net()
    stream = make_stream(net, layers_per_frame=layers_per_frame)
    plain = [specialise(net, embedding) for embedding in EMBEDDINGS]
    served = []
    for number, light in enumerate([0.1] * 4 + [0.9] * 40 + [0.5] * 40):
        image = frame(light, number)
        found = stream(image)
        with torch.inference_mode():
            torch.testing.assert_close(found, plain[stream.domain](image[None])[0])
        served.append(stream.domain)
    num_layers = sum(isinstance(layer, DomainConv2d) for layer in net.modules())
    delay = 1 + (0 if layers_per_frame == 0 else num_layers // layers_per_frame)  # the second frame is noticed
    assert served == [0] * (4 + delay) + [2] * 40 + [1] * (40 - delay)
    assert (stream.num_frames, stream.num_switches) == (84, 2)
    assert stream.watching_s > 0
    assert stream.mixing_s > 0
    with torch.inference_mode():
        assert (plain[0](image[None]) - plain[2](image[None])).abs().max() > 1e-3


def test_a_domain_that_is_left_before_its_net_is_whole_is_never_served():
    stream = make_stream(make_net(), layers_per_frame=1)
    served = []
    for light in [0.1] * 3 + [0.9] * 3 + [0.5] * 60:
        stream(frame(light))
        served.append(stream.domain)
    assert 2 not in served
    assert served[-1] == 1


def test_one_who_knows_may_say_so():
    net = make_net()
    stream = make_stream(net)
    stream(frame(0.1))
    stream.switch_to(1)
    assert stream.domain == 1
    stream.switch_to(1)
    assert stream.num_switches == 1


def test_a_fault_in_a_frame_loses_nothing():
    net = make_net()
    stream = make_stream(net)
    stream(frame(0.1))
    with pytest.raises(ValueError, match="finite features"):
        stream(torch.full((3, 32, 32), torch.nan))
    assert stream.domain == 0
    assert stream.num_frames == 1
    stream.reset()
    assert stream.domain is None
    stream(frame(0.9))
    assert (stream.domain, stream.num_switches) == (2, 0)


def test_detectors_give_detections():
    net = DomainNet(CenterDetector("test_resnet", 2, channels=8, max_detections=3), 3, 2, "encoder").eval()
    found = make_stream(net)(frame(0.5))
    assert found.boxes_xyxy.shape[1] == 4
    assert len(found.score) <= 3


def test_bad_arguments_are_named():
    net = make_net()
    watcher = DomainWatcher(torch.zeros(2, 8))
    with pytest.raises(ValueError, match=r"expected an embedding for each center \(2\), got 3"):
        DomainStream(net, ImageStatistics((1, 1)), watcher, EMBEDDINGS)
    with pytest.raises(ValueError, match="expected layers_per_frame of at least 0, got -1"):
        make_stream(net, layers_per_frame=-1)
