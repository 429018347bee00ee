"""Half an hour of video through the streaming runtime: latency of a frame, and whether memory stays as it is."""

import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from lightning_edge.nn import AccelNet, DeepLab, DISFlow
from lightning_edge.samples.world.frames import CITYSCAPES_RATE_HZ, render_snippet
from lightning_edge.systems import VideoStream
from lightning_edge.timing import Samples

pytestmark = pytest.mark.benchmark

NUM_FRAMES = round(30 * 60 * CITYSCAPES_RATE_HZ)
DRIVE_FRAMES = 150
SHARE_DROPPED = 0.02
WARMUP_FRAMES = 3000


def video() -> Iterator[tuple[int, torch.Tensor]]:
    """Drive after drive, with a cut between, some frames dropped; numbered as a camera numbers."""
    chance = random.Random(0)
    for start in range(0, NUM_FRAMES, DRIVE_FRAMES):
        for position, frame in enumerate(render_snippet(start, DRIVE_FRAMES)):
            if chance.random() >= SHARE_DROPPED:
                yield start + position, torch.from_numpy(frame.image).permute(2, 0, 1).float() / 255


def resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux")
def test_half_an_hour(capsys: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(0)
    reference = DeepLab("resnet18_half", 19, output_stride=8, hidden_channels=128)
    update = DeepLab("resnet10_quarter", 19, output_stride=16, hidden_channels=128)
    stream = VideoStream(AccelNet(reference, update, DISFlow()).eval(), interval=5)
    durations_ms: dict[bool, list[float]] = {True: [], False: []}
    memory_mib: list[float] = []
    for count, (index, frame) in enumerate(video()):
        before_s = time.perf_counter()
        stream(frame, index)
        if count >= WARMUP_FRAMES:
            durations_ms[stream.is_keyframe].append(1000 * (time.perf_counter() - before_s))
            memory_mib.append(resident_mib())
    third = len(memory_mib) // 3
    early, late = np.mean(memory_mib[:third]), np.mean(memory_mib[-third:])
    with capsys.disabled():
        for name, values in {"key": durations_ms[True], "other": durations_ms[False]}.items():
            percentiles = " ".join(f"p{q} {Samples(tuple(values)).percentile(q).value:.1f}" for q in (50, 95, 99))
            Console().print(f"{len(values)} {name} frames: {percentiles} ms, longest {max(values):.0f} ms")
        Console().print(f"resident memory: first third {early:.0f} MiB, last third {late:.0f} MiB")
    assert late - early < 0.02 * early
