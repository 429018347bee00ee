"""Shift nets outside of eager torch: as ONNX in onnxruntime, traced, and exported, with the scores that they had."""

import io
import warnings

import pytest
import timm
import torch
from torch import nn

from lightning_edge.nn.shift.conversion import convert_to_shifts
from lightning_edge.nn.shift.shift import Shift2d, ShiftConv2d
from lightning_edge.nn.shift.shiftnet import SC2, ShiftNet
from lightning_edge.ops.shift import shift2d, shifts_of_offsets

CHANNELS = 54


class ShiftByOffsets(nn.Module):
    """Uneven offsets, some of which lead out of the picture."""

    shifts = shifts_of_offsets([(0, 0), (2, -1), (2, -1), (-3, 0), (0, 40), (-40, 40)] * 9)

    def forward(self, image):
        return shift2d(image, self.shifts)


class EveryModule(nn.Module):
    """All ways in which a module shifts, side by side."""

    def __init__(self):
        super().__init__()
        self.parts = nn.ModuleList(
            [
                Shift2d(CHANNELS),
                Shift2d(CHANNELS, 5, 2),
                Shift2d(CHANNELS, 1),
                ShiftByOffsets(),
                ShiftConv2d(CHANNELS, 6, shift_size=5, bias=True),  # no shift twice: exporters would make it once
                ShiftConv2d(CHANNELS, 6, 2, 3, 2, groups=2),
            ]
        )

    def forward(self, image):
        return torch.cat([part(image).flatten(1) for part in self.parts], 1)


def converted_resnet():
    net = timm.create_model("resnet10t", num_classes=5)
    assert convert_to_shifts(net) > 0
    return net


NETS = {
    "every module": EveryModule,
    "shiftresnet20": lambda: timm.create_model("shiftresnet20", num_classes=10, expansion=3),
    "shiftnet": lambda: ShiftNet(9, (1, 1, 1, 2), num_classes=5, output_stride=8),
    "SC2": lambda: ShiftNet(25, (1, 1, 1, 1), num_classes=5, make_module=SC2),
    "converted": converted_resnet,
}


def images(batch, net, size=32):
    channels = CHANNELS if isinstance(net, EveryModule) else 3
    return torch.randn(batch, channels, size, size, generator=torch.Generator().manual_seed(batch))


@pytest.fixture
def net(request):
    """As it comes out of a file, in evaluation mode, with statistics that are not the first ones."""
    torch.manual_seed(0)
    net = NETS[request.param]()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 2)
    file = io.BytesIO()
    torch.save(net, file)
    file.seek(0)
    return torch.load(file, weights_only=False).eval()


def assert_equal_scores(function, net, size=32, **tolerance):
    for batch in (1, 5):
        image = images(batch, net, size)
        with torch.no_grad():
            torch.testing.assert_close(function(image), net(image), **tolerance)


def write_onnx(net, image, path, dynamo):
    """As a user would, for batches of any size."""
    if dynamo:
        torch.onnx.export(net, (image,), path, dynamic_shapes=({0: torch.export.Dim("batch")},), verbose=False)
        return
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=DeprecationWarning)  # torch says that this exporter is old
        axes = {"image": {0: "batch"}}
        torch.onnx.export(net, (image,), path, input_names=["image"], dynamic_axes=axes, dynamo=False)


def in_onnxruntime(path):
    session = pytest.importorskip("onnxruntime").InferenceSession(path, providers=["CPUExecutionProvider"])
    (image,) = session.get_inputs()
    return lambda values: torch.from_numpy(session.run(None, {image.name: values.numpy()})[0])


@pytest.mark.parametrize(
    ("net", "dynamo"),
    [
        ("every module", True),
        ("shiftresnet20", True),
        *(pytest.param(name, True, marks=pytest.mark.slow) for name in ("shiftnet", "SC2", "converted")),
        *((name, False) for name in NETS),
    ],
    indirect=["net"],
)
@pytest.mark.filterwarnings("error::torch.jit.TracerWarning:lightning_edge.*")
def test_onnxruntime_gives_the_scores_of_torch(net, dynamo, tmp_path):
    pytest.importorskip("onnxscript")
    path = tmp_path / "net.onnx"
    write_onnx(net, images(2, net), path, dynamo)
    assert_equal_scores(in_onnxruntime(path), net, rtol=1e-5, atol=1e-5)
    nodes = pytest.importorskip("onnx").load(path).graph.node
    num_convolutions = sum(isinstance(module, nn.Conv2d) for module in net.modules())
    num_shifts = sum(hasattr(module, "shifts") for module in net.modules())
    assert sum(node.op_type == "Conv" for node in nodes) == num_convolutions + num_shifts


def test_an_exported_program_becomes_onnx_too(tmp_path):
    pytest.importorskip("onnxscript")
    net = nn.Sequential(Shift2d(CHANNELS), ShiftByOffsets(), ShiftConv2d(CHANNELS, 3, 2)).eval()
    image = torch.randn(2, CHANNELS, 9, 8)
    program = torch.export.export(net, (image,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    torch.onnx.export(program, (), tmp_path / "net.onnx", dynamo=True, verbose=False)
    scores = in_onnxruntime(tmp_path / "net.onnx")
    with torch.no_grad():
        torch.testing.assert_close(scores(image[:1]), net(image[:1]), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("net", ["every module", "shiftresnet20", "converted"], indirect=True)
@pytest.mark.filterwarnings("error::torch.jit.TracerWarning:lightning_edge.*")
@pytest.mark.filterwarnings("ignore:.*torch.jit.*deprecated:")
def test_a_trace_gives_the_scores_for_pictures_of_other_sizes_too(net):
    traced = torch.jit.trace(net, images(2, net))
    file = io.BytesIO()
    torch.jit.save(traced, file)
    file.seek(0)
    loaded = torch.jit.load(file)
    assert_equal_scores(loaded, net, 48, rtol=1e-5, atol=1e-5)


def test_a_program_holds_operators_of_torch_only():
    """So that it runs where this library is not installed, and moves values bit by bit."""
    net = nn.Sequential(Shift2d(CHANNELS), ShiftConv2d(CHANNELS, 6, 2, 3, 2, groups=2)).eval()
    image = torch.randn(2, CHANNELS, 9, 8)
    program = torch.export.export(net, (image,))
    targets = [node.target for node in program.graph.nodes if node.op == "call_function"]
    assert targets
    assert {target.namespace for target in targets} == {"aten"}
    torch.testing.assert_close(program.module()(image), net(image), rtol=0, atol=0)
