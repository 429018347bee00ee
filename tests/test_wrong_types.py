"""Errors about arguments of a wrong type: without the suite's type checks, as a user of the library has it."""

import subprocess
import sys

CALLS = """
import torch
from torch import nn

from lightning_edge.nn import DeepLab, DISFlow, Normalize
from lightning_edge.nn.anodev2 import ODEBlock
from lightning_edge.ops.shift import grid_shifts
from lightning_edge.systems import FixedInterval, VideoStream

for call in (
    lambda: DISFlow("slow"),
    lambda: VideoStream(DeepLab("resnet10t", 5)),
    lambda: FixedInterval(2.5),
    lambda: ODEBlock(nn.Identity(), 2.5),
    lambda: ODEBlock(nn.Identity(), step="rk4"),
    lambda: ODEBlock(nn.Identity(), gradient="block_checkpoint"),
    lambda: grid_shifts(18, 3, 1.5),
    lambda: Normalize((0.5,), (0.5,))(torch.zeros(1, 1, 2, 2, dtype=torch.uint8)),
):
    try:
        call()
    except ValueError as error:
        print(error)
"""


def test_are_one_sentence_each():
    ended = subprocess.run([sys.executable, "-c", CALLS], capture_output=True, text=True, check=True)
    assert ended.stdout.splitlines() == [
        "expected preset ultrafast, fast or medium, got 'slow'",
        "expected a video net, such as AccelNet or the net of Accel, got DeepLab",
        "expected interval as a whole number of frames from 1, got 2.5",
        "expected a whole number as num_steps, got 2.5",
        "expected a function as step, as in lightning_edge.ops, got 'rk4'",
        "expected a function as gradient, as in lightning_edge.ops, got 'block_checkpoint'",
        "expected a whole number as dilation, got 1.5",
        "expected an image of floats in [0, 1], got torch.uint8: divide bytes by 255",
    ]
