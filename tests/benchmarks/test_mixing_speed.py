"""Ways to convolve a batch of several domains: what a net with experts costs in training, and what it costs nothing.

``pytest -m benchmark tests/benchmarks/test_mixing_speed.py -s``; on a GPU where there is one.
"""

import gc
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from rich.console import Console
from rich.table import Table

from lightning_edge.machine import peak_memory_bytes
from lightning_edge.nn.conditioning import in_domain
from lightning_edge.nn.detection.center_detector import CenterDetector
from lightning_edge.nn.dynamic.conversion import specialize
from lightning_edge.nn.dynamic.ddn import CondConvNet, DomainNet
from lightning_edge.ops.center_targets import pad_boxes
from lightning_edge.ops.expert_convolution import (
    convolve_by_domain,
    convolve_by_expert,
    convolve_by_image,
    convolve_each,
    mix_experts,
)
from lightning_edge.timing import interleave, ratio

pytestmark = pytest.mark.benchmark
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
BATCH, DOMAINS, EXPERTS = 16, 5, 4
HEIGHT, WIDTH = 144, 256
ENCODERS = ("resnet10_quarter", "resnet18_half", "mobilenetv3_small_050")


def print_table(title, headings, rows):
    table = Table(title=title)
    for heading in headings:
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(*map(str, row))
    Console(width=140).print(table)


CONVOLUTIONS = [
    # channels, height, width, kernel, stride, groups
    (16, 36, 64, 3, 1, 1),
    (64, 36, 64, 3, 1, 1),
    (64, 9, 16, 3, 2, 1),
    (128, 5, 8, 3, 1, 1),
    (128, 18, 32, 1, 1, 1),
    (96, 18, 32, 3, 1, 96),
    (256, 18, 32, 3, 1, 1),
    (32, 4, 4, 3, 1, 1),
    (128, 2, 2, 3, 1, 1),
    (128, 1, 1, 3, 1, 1),
]
WAYS = ("static", "loop", "by image", "by domain", "by expert", "chosen")


@pytest.mark.parametrize("num_domains", [DOMAINS, BATCH])
def test_ways_to_convolve(num_domains, capsys):
    torch.manual_seed(0)
    rows = []
    for convolution in CONVOLUTIONS:
        channels, height, width, kernel, stride, groups = convolution
        actual = interleave(make_ways(*convolution, num_domains), 30, device=DEVICE)
        ratios = [f"{ratio(actual[name], actual['static']).value:.2f}" for name in WAYS[1:]]
        name = f"{channels}, {height}x{width}, {kernel}x{kernel}/{stride}" + (", depthwise" if groups > 1 else "")
        rows.append((name, f"{actual['static'].percentile(50).value:.2f} ms", *ratios))
    with capsys.disabled():
        title = f"forward and backward of {BATCH} images of {num_domains} domains, of the static convolution, {DEVICE}"
        print_table(title, ("convolution", *WAYS), rows)


def make_ways(channels, height, width, kernel, stride, groups, num_domains):
    """Steps forward and backward by name."""
    image = torch.rand(BATCH, channels, height, width, device=DEVICE, requires_grad=True)
    experts = torch.rand(EXPERTS, channels, channels // groups, kernel, kernel, device=DEVICE, requires_grad=True)
    gates = torch.rand(num_domains, EXPERTS, device=DEVICE, requires_grad=True)
    row = torch.arange(BATCH, device=DEVICE) % num_domains
    settings = ((stride, stride), (kernel // 2, kernel // 2), (1, 1), groups)

    def loop():
        weights = mix_experts(gates, experts)
        each = zip(image.split(1), row.tolist(), strict=True)
        return torch.cat([F.conv2d(one, weights[domain], None, *settings) for one, domain in each])

    ways = {
        "static": lambda: F.conv2d(image, experts[0], None, *settings),
        "loop": loop,
        "by image": lambda: convolve_by_image(image, mix_experts(gates, experts)[row], *settings),
        "by domain": lambda: convolve_by_domain(image, mix_experts(gates, experts), row, *settings),
        "by expert": lambda: convolve_by_expert(image, experts, gates[row], *settings),
        "chosen": lambda: convolve_each(image, experts, gates, row, *settings),
    }

    def step(way):
        return torch.autograd.grad(way().sum(), [image, experts, gates], allow_unused=True)

    return {name: lambda way=way: step(way) for name, way in ways.items()}


def make_batch():
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(BATCH, 3, HEIGHT, WIDTH, generator=generator).to(DEVICE)
    corner = torch.rand(BATCH, 10, 2, generator=generator) * torch.tensor([WIDTH - 60, HEIGHT - 60])
    boxes = torch.cat([corner, corner + 8 + 50 * torch.rand(BATCH, 10, 2, generator=generator)], -1).to(DEVICE)
    labels = torch.randint(0, 10, (BATCH, 10), generator=generator).to(DEVICE)
    return image, pad_boxes(list(boxes), list(labels)), pad_boxes(list(boxes[:, :0]), list(labels[:, :0]))


def make_step(kind, encoder, batch):
    """One training step of a detector, without the optimizer."""
    image, objects, ignored = batch
    body = CenterDetector(encoder, 10)
    net = {
        "static": lambda: body,
        "DDN": lambda: DomainNet(body, DOMAINS, EXPERTS, "encoder"),
        "DDN, image by image": lambda: DomainNet(body, DOMAINS, EXPERTS, "encoder"),
        "CondConv": lambda: CondConvNet(body, EXPERTS, "encoder"),
    }[kind]().to(DEVICE)
    embedding = torch.eye(DOMAINS, device=DEVICE)[torch.arange(BATCH, device=DEVICE) % DOMAINS]

    def losses(images, rows, told):
        with in_domain(net, told):
            maps = net(images)
        parts = [type(boxes)(*(values[rows] for values in boxes)) for boxes in (objects, ignored)]
        return sum(body.losses_of(maps, *parts).values())

    def step():
        net.zero_grad(set_to_none=True)
        if "by image" in kind:
            for number in range(BATCH):
                rows = slice(number, number + 1)
                losses(image[rows], rows, embedding[number]).backward()
        else:
            losses(image, slice(None), embedding).backward()

    return step


KINDS = ("static", "DDN", "DDN, image by image", "CondConv")


@pytest.mark.parametrize("encoder", ENCODERS)
def test_training_step(encoder, capsys):
    torch.manual_seed(0)
    batch = make_batch()
    actual = interleave({kind: make_step(kind, encoder, batch) for kind in KINDS}, 15, device=DEVICE)
    memory = {kind: memory_of(kind, encoder) for kind in KINDS}
    rows = []
    for kind in KINDS:
        times = ratio(actual[kind], actual["static"])
        per_s = actual[kind].throughput_per_s(BATCH)
        rows.append(
            (kind, f"{per_s:.0f}", f"{times.value:.2f} [{times.low:.2f}, {times.high:.2f}]", f"{memory[kind]:.0f}")
        )
    with capsys.disabled():
        title = f"a training step of {BATCH} images of {DOMAINS} domains, {HEIGHT}x{WIDTH}, {encoder}, {DEVICE}"
        print_table(title, ("net", "images/s", "time of static", "memory MiB"), rows)


def memory_of(kind, encoder):
    """Peak of a process that makes three steps, less that of one that makes none."""
    if DEVICE == "cuda":
        gc.collect()
        torch.cuda.empty_cache()
        step = make_step(kind, encoder, make_batch())
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        step()
        step()
        return (peak_memory_bytes(DEVICE) - before) / 2**20
    command = [sys.executable, __file__, kind, encoder]
    peaks = [
        float(subprocess.run([*command, steps], capture_output=True, text=True, check=True).stdout) for steps in "03"
    ]
    return (peaks[1] - peaks[0]) / 2**20


@pytest.mark.parametrize("encoder", ENCODERS)
def test_a_specialized_net_is_as_fast_as_the_static_one(encoder, capsys):
    torch.manual_seed(0)
    image = torch.rand(1, 3, HEIGHT, WIDTH, device=DEVICE)
    static = CenterDetector(encoder, 10).eval().to(DEVICE)
    dynamic = DomainNet(CenterDetector(encoder, 10), DOMAINS, EXPERTS, "encoder").eval().to(DEVICE)
    embedding = torch.eye(DOMAINS, device=DEVICE)[0]
    plain = specialize(dynamic, embedding)

    def mixing():
        with in_domain(dynamic, embedding):
            return dynamic(image)

    with torch.inference_mode():
        nets = {"static": lambda: static(image), "specialized": lambda: plain(image), "mixing": mixing}
        actual = interleave(nets, 400, warmup=20, device=DEVICE)
        switch = interleave({"specialize": lambda: specialize(dynamic, embedding)}, 30, device=DEVICE)["specialize"]
    rows = []
    for name in nets:
        times = ratio(actual[name], actual["static"])
        rows.append(
            (name, f"{actual[name].percentile(50).value:.2f}", f"{times.value:.3f} [{times.low:.3f}, {times.high:.3f}]")
        )
    with capsys.disabled():
        title = f"one image of {HEIGHT}x{WIDTH}, {encoder}, {DEVICE}; specialize: {switch.percentile(50).value:.1f} ms"
        print_table(title, ("net", "p50 ms", "of static"), rows)


if __name__ == "__main__":
    _, kind, encoder, steps = sys.argv
    torch.manual_seed(0)
    step = make_step(kind, encoder, make_batch())
    for _ in range(int(steps)):
        step()
    # not peak_memory_bytes: what the system counts for a process begins with the peak of the one that started it
    peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    sys.stdout.write(str(1024 * int(peak[1])))
