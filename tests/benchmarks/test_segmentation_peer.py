"""Our DeepLab beside a DeepLabV3+ of segmentation-models-pytorch, same encoder: time, operations, parameters."""

import pytest
import torch
from rich.console import Console
from rich.table import Table
from torch.utils.flop_counter import FlopCounterMode

from lightning_edge.machine import count_parameters
from lightning_edge.nn import DeepLab, WrappedBranch
from lightning_edge.timing import interleave, ratio

pytestmark = pytest.mark.benchmark

NUM_CLASSES = 19
NUM_ROUNDS = 60


def test_time_of_a_frame(capsys: pytest.CaptureFixture[str]) -> None:
    smp = pytest.importorskip("segmentation_models_pytorch")
    peer = smp.DeepLabV3Plus("resnet18", encoder_weights=None, classes=NUM_CLASSES)
    nets = {
        "DeepLabV3+, stride 16": WrappedBranch(peer).eval(),
        "ours, stride 8": DeepLab("resnet18", NUM_CLASSES, output_stride=8, hidden_channels=128).eval(),
        "ours, stride 16": DeepLab("resnet18", NUM_CLASSES, output_stride=16, hidden_channels=128).eval(),
    }
    frame = torch.rand(1, 3, 128, 256)
    with torch.inference_mode():
        times = interleave({name: lambda net=net: net(frame) for name, net in nets.items()}, NUM_ROUNDS)
        table = Table("net", "parameters M", "GFLOPs", "p50 ms", "of theirs", title="256x128, one frame")
        for name, net in nets.items():
            with FlopCounterMode(display=False) as counter:
                net(frame)
            value, low, high = ratio(times[name], times["DeepLabV3+, stride 16"])
            table.add_row(
                name,
                f"{count_parameters(net) / 1e6:.1f}",
                f"{counter.get_total_flops() / 1e9:.1f}",
                f"{times[name].percentile(50).value:.1f}",
                f"{value:.2f} [{low:.2f}, {high:.2f}]",
            )
    with capsys.disabled():
        Console().print(table)
    assert all(net(frame).shape == (1, NUM_CLASSES, 128, 256) for net in nets.values())
