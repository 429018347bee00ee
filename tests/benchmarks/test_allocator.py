"""A training step on a CPU, with the C library's usual way to hold freed memory and with one that keeps it.

By default glibc gives large blocks back to the kernel, which hands them out again page by page, each made zero. The
setting is read when a process begins, hence the processes.
"""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from rich.console import Console
from rich.table import Table

pytestmark = pytest.mark.benchmark

KEEPING = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**31 - 1)}
NETS = {
    "ResNet-20": ("cifar_resnet20", {}),
    "ShiftResNet-20, expansion 6": ("shiftresnet20", {"expansion": 6}),
    "depthwise, expansion 6": ("cifar_dwresnet20", {"expansion": 6}),
}
ROUNDS = 3
STEPS = """
import json, sys, time, timm, torch
import lightning_edge.nn
torch.set_num_threads(1)
net = timm.create_model(sys.argv[1], **json.loads(sys.argv[2]))
image, label = torch.rand(64, 3, 32, 32), torch.randint(0, 10, (64,))
times = []
for _ in range(3):
    start = time.perf_counter()
    torch.nn.functional.cross_entropy(net(image), label).backward()
    times.append(time.perf_counter() - start)
print(sorted(times)[1])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the settings are glibc's")
def test_a_training_step(capsys):
    table = Table("float32, 64 images, 1 thread", "usual, s", "keeping, s", "quotient, median [least, most]")
    for title, (name, options) in NETS.items():
        usual, keeping = np.array([[_step(name, options, more) for more in ({}, KEEPING)] for _ in range(ROUNDS)]).T
        quotients = keeping / usual
        spread = f"{np.median(quotients):.2f} [{quotients.min():.2f}, {quotients.max():.2f}]"
        table.add_row(title, f"{np.median(usual):.2f}", f"{np.median(keeping):.2f}", spread)
    with capsys.disabled():
        Console(width=110).print(table)


def _step(name, options, more):
    call = [sys.executable, "-c", STEPS, name, json.dumps(options)]
    actual = subprocess.run(call, env=os.environ | more, capture_output=True, text=True, check=True)
    return float(actual.stdout)
