"""The shift beside copies of as many bytes, beside convolutions, and followed by a 1x1 convolution.

Each is called some times in a row, after which the next has its turn: what it reads was just written, as in a net.

Shapes are those of ShiftResNet-20 (expansion 3, 9 and 6) and of ShiftNet-A's groups; on a CPU in batches of 64 and 16,
and the first three of one image, as on a device; on a GPU in batches that for the most part do not fit its cache.

In onnxruntime the ways in which an exported graph can express a shift are compared, alone and within nets.
"""

import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
from rich.console import Console
from rich.table import Table

from lightning_edge.nn import TimmClassifier, convert_to_shifts
from lightning_edge.nn.shift.shift import Shift2d
from lightning_edge.ops.shift import grid_shifts, shift2d, shift_by_slices, shift_pointwise
from lightning_edge.ops.shift_operators import shift_by_convolution, shift_by_pads
from lightning_edge.timing import interleave, ratio

pytestmark = pytest.mark.benchmark

SHAPES = [
    ((1, 48, 2, 2), 16),  # which moves next to nothing: the fixed cost of a call
    ((1, 48, 32, 32), 16),
    ((1, 128, 56, 56), 64),
    ((64, 48, 32, 32), 16),
    ((64, 144, 32, 32), 16),
    ((64, 192, 16, 16), 32),
    ((64, 384, 8, 8), 64),
    ((16, 128, 56, 56), 64),
    ((16, 256, 28, 28), 128),
]
GPU_SHAPES = [
    (64, 48, 32, 32),
    (256, 144, 32, 32),
    (256, 192, 16, 16),
    (256, 384, 8, 8),
    (64, 128, 56, 56),
    (256, 512, 28, 28),
]
ROUNDS, CALLS_IN_A_ROW, CALLS_IN_A_GRAPH = 25, 3, 20


@pytest.mark.parametrize(("shape", "filters"), SHAPES, ids=str)
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last], ids=["contiguous", "last"])
@torch.inference_mode()
def test_shift(shape, filters, memory_format, capsys):
    channels = shape[1]
    image = torch.randn(shape, generator=torch.Generator().manual_seed(0)).contiguous(memory_format=memory_format)
    out, shifts = torch.empty_like(image), grid_shifts(channels)
    one_hot = torch.zeros(channels, 1, 3, 3)
    one_hot[
        torch.arange(channels),
        0,
        [1 + dy for n, dy, _ in shifts for _ in range(n)],
        [1 + dx for n, _, dx in shifts for _ in range(n)],
    ] = 1
    learned, dense = torch.randn(channels, 1, 3, 3), torch.randn(channels, channels, 3, 3)
    functions = {
        **copies_and_shifts(image, out, shifts),
        "depthwise 3x3, one-hot": lambda: F.conv2d(image, one_hot, padding=1, groups=channels),
        "depthwise 3x3": lambda: F.conv2d(image, learned, padding=1, groups=channels),
        "dense 3x3": lambda: F.conv2d(image, dense, padding=1),
    }
    print_ratios(functions, ("copy_", "clone"), f"{shape} {memory_format}{_threads()}", capsys)
    assert torch.equal(functions["shift"](), functions["depthwise 3x3, one-hot"]())


@pytest.mark.parametrize(("shape", "filters"), SHAPES, ids=str)
@torch.inference_mode()
def test_shift_and_pointwise(shape, filters, capsys):
    channels = shape[1]
    image, shifts = torch.randn(shape, generator=torch.Generator().manual_seed(0)), grid_shifts(channels)
    weight, depthwise = torch.randn(filters, channels), torch.randn(channels, 1, 3, 3)
    dense = torch.randn(filters, channels, 3, 3)

    def multiply(features):
        return torch.matmul(weight, features.flatten(2)).unflatten(2, shape[2:])

    def convolve(features):
        return F.conv2d(features, weight[..., None, None])

    functions = {
        "1x1 by conv2d": lambda: convolve(image),
        "1x1 by matmul": lambda: multiply(image),
        "shift and conv2d": lambda: convolve(shift2d(image, shifts)),
        "shift and matmul": lambda: multiply(shift2d(image, shifts)),
        "shift and 1x1 in one": lambda: shift_pointwise(image, shifts, weight),
        "depthwise and conv2d": lambda: convolve(F.conv2d(image, depthwise, padding=1, groups=channels)),
        "depthwise and matmul": lambda: multiply(F.conv2d(image, depthwise, padding=1, groups=channels)),
        "dense 3x3": lambda: F.conv2d(image, dense, padding=1),
    }
    print_ratios(functions, ("1x1 by conv2d", "1x1 by matmul"), f"{shape} to {filters}{_threads()}", capsys)
    torch.testing.assert_close(
        functions["shift and 1x1 in one"](), functions["shift and conv2d"](), rtol=1e-4, atol=1e-3
    )


@pytest.mark.parametrize("batch_size", [1, 64])
def test_whole_nets(batch_size, capsys):
    converted = TimmClassifier("resnet18", 10)
    convert_to_shifts(converted)
    nets = {
        "ResNet-20": TimmClassifier("cifar_resnet20", 10),
        **{f"ShiftResNet-20, {n}": TimmClassifier("shiftresnet20", 10, None, {"expansion": n}) for n in (3, 6, 9)},
        "depthwise, 2.7": TimmClassifier("cifar_dwresnet20", 10, None, {"expansion": 2.7}),
        "ResNet-18": TimmClassifier("resnet18", 10),
        "ResNet-18 converted": converted,
    }
    image = torch.rand(batch_size, 3, 32, 32)
    functions = {name: lambda net=net: net.eval()(image) for name, net in nets.items()}
    with torch.inference_mode():  # of nets that were made outside, as users have them
        print_ratios(functions, ("ResNet-20",), f"{tuple(image.shape)}{_threads()}", capsys)


def shift_by_padding_once(image, shifts):
    """A border around all channels, and a slice of it for each place."""
    reach = max(abs(offset) for _, dy, dx in shifts for offset in (dy, dx))
    padded, ends = F.pad(image, (reach,) * 4), np.cumsum([num for num, _, _ in shifts])
    rows, columns = (lambda step, end=end: slice(reach + step, reach + step + end) for end in image.shape[2:])
    parts = [padded[:, end - n : end, rows(dy), columns(dx)] for (n, dy, dx), end in zip(shifts, ends, strict=True)]
    return torch.cat(parts, 1)


def shift_by_gather(image, shifts):
    """Each pixel by its place in memory, behind which stands a zero."""
    channels, height, width = (int(size) for size in image.shape[1:])
    dy, dx = np.array([(dy, dx) for n, dy, dx in shifts for _ in range(n)]).T[..., None, None]
    y, x = np.arange(height)[:, None] + dy, np.arange(width) + dx
    is_inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
    place = np.where(is_inside, (np.arange(channels)[:, None, None] * height + y) * width + x, image[0].numel())
    places = torch.from_dlpack(place.reshape(-1))
    return F.pad(image.flatten(1), (0, 1)).index_select(1, places).unflatten(1, (channels, height, width))


WAYS_IN_ONNX = {
    "one-hot convolution": shift_by_convolution,
    "pad and slice each": shift_by_pads,
    "pad once, slice": shift_by_padding_once,
    "gather": shift_by_gather,
}


def converted_resnet18():
    net = timm.create_model("resnet18", num_classes=10)
    convert_to_shifts(net)
    return net


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (lambda: Shift2d(48), (1, 48, 32, 32)),
        (lambda: Shift2d(128, 5), (1, 128, 56, 56)),
        (lambda: timm.create_model("shiftresnet20", expansion=3), (1, 3, 32, 32)),
        (lambda: timm.create_model("shiftresnet20", expansion=3), (16, 3, 32, 32)),
        (lambda: timm.create_model("shiftnet_c"), (1, 3, 224, 224)),
        (converted_resnet18, (1, 3, 64, 64)),
    ],
    ids=["shift 3x3", "shift 5x5", "ShiftResNet-20, 1", "ShiftResNet-20, 16", "ShiftNet-C", "ResNet-18 converted"],
)
@pytest.mark.filterwarnings("ignore")
def test_in_onnxruntime(make, shape, tmp_path, monkeypatch, capsys, request):
    onnxruntime = pytest.importorskip("onnxruntime")
    net, image = make().eval(), torch.rand(shape)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    functions = {}
    for name, way in WAYS_IN_ONNX.items():
        monkeypatch.setattr("lightning_edge.ops.shift.shift_by_convolution", way)
        # the older exporter, which takes a small part of the time
        torch.onnx.export(net, (image,), tmp_path / f"{name}.onnx", input_names=["image"], dynamo=False)
        session = onnxruntime.InferenceSession(tmp_path / f"{name}.onnx", options, ["CPUExecutionProvider"])
        functions[name] = lambda session=session: session.run(None, {"image": image.numpy()})[0]
        with torch.no_grad():
            np.testing.assert_allclose(functions[name](), net(image).numpy(), rtol=1e-4, atol=1e-4)
    title = f"{request.node.callspec.id} {shape}{_threads()}, onnxruntime"
    print_ratios(functions, ("one-hot convolution",), title, capsys)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last], ids=["contiguous", "last"])
@pytest.mark.parametrize("shape", GPU_SHAPES, ids=str)
@torch.inference_mode()
def test_shift_on_a_gpu(shape, memory_format, dtype, capsys):
    channels = shape[1]
    image = torch.randn(shape, device="cuda").to(dtype).contiguous(memory_format=memory_format)
    out, shifts = torch.empty_like(image), grid_shifts(channels)
    learned = torch.randn(channels, 1, 3, 3, device="cuda", dtype=dtype)
    functions = {
        **copies_and_shifts(image, out, shifts),
        "depthwise 3x3": lambda: F.conv2d(image, learned, padding=1, groups=channels),
    }
    wanted = shift_by_slices(image, shifts, torch.empty_like(image))
    assert torch.equal(shift2d(image, shifts), wanted)
    recorded = {name: record(function) for name, function in functions.items()}
    print_ratios(recorded, ("copy_", "clone"), f"{shape} {dtype} {memory_format} on a GPU", capsys, device="cuda")


def copies_and_shifts(image, out, shifts):
    return {
        "copy_": lambda: out.copy_(image),
        "clone": lambda: image.clone(),
        "shift": lambda: shift2d(image, shifts),
        "shift, out=": lambda: shift2d(image, shifts, out),
        "slices, out=": lambda: shift_by_slices(image, shifts, out),
    }


def _threads():
    return f", {torch.get_num_threads()} threads"


def record(function):
    """A CUDA graph of twenty calls, by which those of Python take no part in the time."""
    function()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(CALLS_IN_A_GRAPH):
            function()
    return graph.replay


def print_ratios(functions, references, title, capsys, device="cpu"):
    in_a_row = {name: lambda f=function: [f() for _ in range(CALLS_IN_A_ROW)] for name, function in functions.items()}
    times = interleave(in_a_row, ROUNDS, device=device)
    calls = CALLS_IN_A_ROW * (CALLS_IN_A_GRAPH if device == "cuda" else 1)
    table = Table("", "p50 ms", *(f"of {name}" for name in references), title=title)
    for name, samples in times.items():
        ratios = [ratio(samples, times[reference]) for reference in references]
        table.add_row(
            name,
            f"{samples.percentile(50).value / calls:.4f}",
            *(f"{r.value:.2f} [{r.low:.2f}, {r.high:.2f}]" for r in ratios),
        )
    with capsys.disabled():
        Console(width=120).print(table)
