from copy import deepcopy

import pytest
import torch
from torch import nn

from lightning_edge.nn import AccelNet, DeepLab, DISFlow, FlowNetS, RAFTFlow
from lightning_edge.nn.segmentation.deformable import DeformableConv2d
from lightning_edge.systems import VideoStream

pytest.importorskip("onnxscript")
from lightning_edge.systems.onnx.accel import OnnxAccel, compare, export_accel


def make_net(deformable_groups=0, **arguments):
    torch.manual_seed(0)
    reference = DeepLab("resnet10t", 5, output_stride=8, deformable_groups=deformable_groups)
    for module in reference.modules():
        if isinstance(module, DeformableConv2d):
            nn.init.uniform_(module.offset.bias, -2, 2)  # cells; zeros would make it a plain convolution
    net = AccelNet(reference, DeepLab("mobilenetv3_small_050", 5), **arguments).eval()
    nn.init.normal_(net.fusion.weight, std=0.1)
    return net


@pytest.fixture
def clips():
    noise = torch.rand(2, 3, 20, 28, generator=torch.Generator().manual_seed(0))
    wide = nn.functional.interpolate(noise, (80, 112), mode="bicubic").clamp(0, 1)
    return torch.stack([wide[..., 2 * t : 64 + 2 * t, t : 96 + t] for t in range(4)], 1)


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        ({"flow": DISFlow()}, ["keyframe.onnx", "non_keyframe.onnx"]),
        pytest.param(
            {"flow": FlowNetS(width=0.125)}, ["flow.onnx", "keyframe.onnx", "non_keyframe.onnx"], marks=pytest.mark.slow
        ),
        pytest.param(
            {"flow": DISFlow(), "direct": True}, ["keyframe.onnx", "non_keyframe.onnx"], marks=pytest.mark.slow
        ),
        ({"flow": DISFlow(), "fuse_features": True}, ["keyframe.onnx", "non_keyframe.onnx"]),
        pytest.param(
            {"flow": RAFTFlow(num_updates=2)},
            ["flow.onnx", "keyframe.onnx", "non_keyframe.onnx"],
            marks=pytest.mark.slow,
        ),
        ({"flow": DISFlow(), "deformable_groups": 2}, ["keyframe.onnx", "non_keyframe.onnx"]),
        ({}, ["keyframe.onnx", "non_keyframe.onnx"]),
    ],
    ids=["score fusion", "flow that learns", "direct", "feature fusion", "RAFT", "deformable", "no flow"],
)
def test_a_stream_in_onnxruntime_agrees_with_torch(arguments, names, clips, tmp_path):
    net = make_net(**arguments)
    files = export_accel(net, tmp_path, 64, 96)
    assert sorted(path.name for path in files) == names
    flow = None if "flow.onnx" in names else net.flow
    actual = compare(net, OnnxAccel(tmp_path, flow), clips)
    assert actual.largest_difference < 1e-4
    assert actual.share_equal >= 0.999


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A net and the folder of its export; tests change neither."""
    net, folder = make_net(flow=DISFlow()), tmp_path_factory.mktemp("exported")
    export_accel(net, folder, 64, 96)
    return net, folder


def test_agreement_is_of_every_frame(clips, exported):
    """A net that differs on non-key frames only is detected."""
    net, folder = deepcopy(exported[0]), exported[1]
    with torch.no_grad():
        net.fusion.bias[0] += 1
    assert compare(net, OnnxAccel(folder, net.flow), clips[:, :1]).largest_difference < 1e-4
    assert compare(net, OnnxAccel(folder, net.flow), clips).largest_difference == pytest.approx(1, abs=1e-3)
    with pytest.raises(ValueError, match="expected at least one clip"):
        compare(net, net, [])


def test_the_streaming_runtime_runs_it(clips, exported):
    net, folder = exported
    ours, theirs = (VideoStream(each, interval=3) for each in (net, OnnxAccel(folder, net.flow)))
    for frame in clips[0]:
        assert (ours(frame) == theirs(frame)).float().mean() >= 0.999


def test_another_export_takes_the_place_of_the_first(clips, tmp_path):
    for name in ("flow.onnx", "keyframe.onnx", "non_keyframe.onnx"):
        (tmp_path / name).write_bytes(b"of a net whose flow learns")
    net = make_net(flow=DISFlow())
    export_accel(net, tmp_path, 64, 96)
    assert not (tmp_path / "flow.onnx").exists()
    assert compare(net, OnnxAccel(tmp_path, DISFlow()), clips).share_equal >= 0.999


@pytest.mark.parametrize(("asked", "got"), [(None, torch.get_num_threads()), (1, 1)])
def test_threads_are_those_of_torch_or_as_asked(asked, got, exported):
    net = OnnxAccel(exported[1], exported[0].flow, num_threads=asked)
    for session in (net._key, net._non_keyframe):
        assert session.get_session_options().intra_op_num_threads == got


def test_frames_of_another_size_are_refused(exported):
    net, folder = exported
    with pytest.raises(ValueError, match=r"shape of the export, \[1, 3, 64, 96\], got \[1, 3, 32, 96\]"):
        OnnxAccel(folder, net.flow).start(torch.zeros(1, 3, 32, 96))


def test_errors_name_what_is_missing(exported, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"expected keyframe\.onnx in "):
        OnnxAccel(tmp_path)
    with pytest.raises(ValueError, match="expected a net in evaluation mode"):
        export_accel(make_net().train(), tmp_path, 64, 96)
    with pytest.raises(ValueError, match=r"expected a flow for .*such as DISFlow"):
        OnnxAccel(exported[1])
