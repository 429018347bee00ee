"""A stream is served by whole nets, each of one domain."""

import pytest
import torch
from torch import nn

from lightning_edge.nn import CenterDetector, DomainNet, ImageStatistics, TimmClassifier
from lightning_edge.nn.dynamic.conversion import convert_to_domains, specialize
from lightning_edge.nn.dynamic.experts import DomainConv2d
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
    plain = [specialize(net, embedding) for embedding in EMBEDDINGS]
    served = []
    for number, light in enumerate([0.1] * 4 + [0.9] * 40 + [0.5] * 40):
        image = frame(light, number)
        actual = stream(image)
        with torch.inference_mode():
            torch.testing.assert_close(actual, plain[stream.domain](image[None])[0])
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
    served = []
    for _ in range(12):
        stream(frame(0.5))
        served.append(stream.domain)
    assert served == [1] * 12
    stream.switch_to(0)
    stream(frame(0.5))
    assert stream.domain == 0  # until it is clear that it is otherwise


def test_a_fault_in_a_frame_loses_nothing():
    net = make_net()
    stream = make_stream(net)
    stream(frame(0.1))
    with pytest.raises(ValueError, match=r"expected frame in \[0, 1\], got values from nan"):
        stream(torch.full((3, 32, 32), torch.nan))
    assert stream.domain == 0
    assert stream.num_frames == 1
    stream.reset()
    assert stream.domain is None
    stream(frame(0.9))
    assert (stream.domain, stream.num_switches) == (2, 0)


def test_detectors_give_detections():
    net = DomainNet(CenterDetector("test_resnet", 2, channels=8, max_detections=3), 3, 2, "encoder").eval()
    actual = make_stream(net)(frame(0.5))
    assert actual.boxes_xyxy.shape[1] == 4
    assert len(actual.score) <= 3


def test_bad_arguments_are_named():
    net = make_net()
    watcher = DomainWatcher(torch.zeros(2, 8))
    with pytest.raises(ValueError, match=r"expected an embedding for each center \(2\), got 3"):
        DomainStream(net, ImageStatistics((1, 1)), watcher, EMBEDDINGS)
    with pytest.raises(ValueError, match="expected layers_per_frame of at least 0, got -1"):
        make_stream(net, layers_per_frame=-1)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (torch.zeros(3, 32, 32, dtype=torch.uint8), r"floats \[3, height, width\] in \[0, 1\], got torch\.uint8"),
        (torch.rand(1, 3, 32, 32), r"floats \[3, height, width\] in \[0, 1\], got torch\.float32 \[1, 3, 32, 32\]"),
        (
            torch.rand(3, 32, 32, dtype=torch.float64),
            r"expected frame of the net's dtype \(torch.float32\), got torch.float64",
        ),
        (255 * torch.rand(3, 32, 32), r"expected frame in \[0, 1\], got values from .*frame / 255"),
    ],
)
def test_what_is_no_frame_is_named_and_leaves_the_stream_as_it_was(image, message):
    net = make_net()
    stream, undisturbed = make_stream(net), make_stream(net)
    for light in (0.1, 0.9, 0.9, 0.9):
        with pytest.raises(ValueError, match=message):
            stream(image)
        torch.testing.assert_close(stream(frame(light)), undisturbed(frame(light)), rtol=0, atol=0)
        assert (stream.domain, stream.num_frames) == (undisturbed.domain, undisturbed.num_frames)


def test_a_domain_that_comes_back_before_the_next_net_is_whole_goes_on():
    net = make_net()
    stream = make_stream(net, layers_per_frame=1)
    plain = [specialize(net, embedding) for embedding in EMBEDDINGS]
    for number, light in enumerate([0.1] * 3 + [0.9] * 4 + [0.1] * 30 + [0.9] * 40):
        image = frame(light, number)
        actual = stream(image)
        assert stream.domain == (2 if stream.num_switches else 0)
        with torch.inference_mode():
            torch.testing.assert_close(actual, plain[stream.domain](image[None])[0])
        if number < 37:
            assert stream.num_switches == 0
    assert stream.num_switches == 1


def test_one_who_knows_interrupts_the_making_of_a_net():
    net = make_net()
    stream = make_stream(net, layers_per_frame=1)
    for light in [0.1] * 3 + [0.9] * 4:  # the net of the third domain is under way
        stream(frame(light))
    stream.switch_to(1)
    plain = specialize(net, EMBEDDINGS[1])
    for number in range(30):
        actual = stream(frame(0.5, number))
        with torch.inference_mode():
            torch.testing.assert_close(actual, plain(frame(0.5, number)[None])[0])
    assert (stream.domain, stream.num_switches) == (1, 1)


def test_one_who_knows_may_say_so_before_the_first_frame():
    net = make_net()
    stream = make_stream(net)
    stream.switch_to(2)
    actual = stream(frame(0.9))
    with torch.inference_mode():
        torch.testing.assert_close(actual, specialize(net, EMBEDDINGS[2])(frame(0.9)[None])[0])
    assert (stream.domain, stream.num_switches) == (2, 0)


@pytest.mark.parametrize("domain", [-1, 3])
def test_domains_that_are_not_there_are_named(domain):
    stream = make_stream(make_net())
    stream(frame(0.1))
    with pytest.raises(ValueError, match=f"expected domain as an index of at least 0 and below 3, got {domain!r}"):
        stream.switch_to(domain)
    stream(frame(0.1))
    assert (stream.domain, stream.watcher.domain, stream.num_switches) == (0, 0, 0)


def test_a_reset_gives_up_the_net_under_way():
    net = make_net()
    stream = make_stream(net, layers_per_frame=1)
    for light in [0.1] * 3 + [0.9] * 4:
        stream(frame(light))
    stream.reset()
    actual = stream(frame(0.5))
    with torch.inference_mode():
        torch.testing.assert_close(actual, specialize(net, EMBEDDINGS[1])(frame(0.5)[None])[0])
    assert (stream.domain, stream.num_switches, stream.num_frames) == (1, 0, 1)


@pytest.mark.parametrize("layers_per_frame", [1, 0])
def test_a_detector_is_served_as_its_plain_nets_detect(layers_per_frame):
    torch.manual_seed(0)
    net = DomainNet(CenterDetector("test_resnet", 2, channels=8, max_detections=3), 3, 2, "encoder").eval()
    for layer in net.modules():
        if isinstance(layer, DomainConv2d):
            nn.init.normal_(layer.router.weight, std=1)
    stream = make_stream(net, layers_per_frame=layers_per_frame)
    plain = [specialize(net, embedding) for embedding in EMBEDDINGS]
    served = set()
    for number, light in enumerate([0.1] * 3 + [0.9] * 25):
        image = frame(light, number)
        actual = stream(image)
        with torch.inference_mode():
            expected = plain[stream.domain].detect(image[None])[0]
            other = plain[2 - stream.domain].detect(image[None])[0]
        for ours, theirs in zip(actual, expected, strict=True):
            torch.testing.assert_close(ours, theirs)
        assert actual.score[0] != other.score[0]
        served.add(stream.domain)
    assert served == {0, 2}


def test_the_dynamic_net_stays_as_it_is():
    net = make_net()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    stream = make_stream(net)
    for light in [0.1] * 3 + [0.9] * 20:
        stream(frame(light))
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    serving, spare = (
        {value.data_ptr() for value in part.state_dict().values()} for part in (stream._serving, stream._spare)
    )
    assert not serving & spare


def test_the_watcher_goes_on_from_what_one_who_knows_said():
    """It takes its patience again to say otherwise, and does not go back at once."""
    stream = make_stream(make_net(), layers_per_frame=0)
    stream(frame(0.1))
    stream.switch_to(1)
    served = []
    for _ in range(3):
        stream(frame(0.1))
        served.append(stream.domain)
    assert served == [1, 0, 0]
