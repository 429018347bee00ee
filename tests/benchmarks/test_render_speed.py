"""Time of the sample world's frames at 128 x 256 on one thread, by domain: the figures of decision 0002."""

import time

import cv2
import numpy as np
import pytest
from rich.console import Console
from rich.table import Table

from lightning_edge.machine import machine_facts
from lightning_edge.samples.world.domains import DOMAINS
from lightning_edge.samples.world.frames import render_snippet

pytestmark = pytest.mark.benchmark

NUM_WORLDS, NUM_FRAMES = 5, 20


def test_time_of_a_frame():
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    durations_ms: dict[str, list[float]] = {name: [] for name in DOMAINS}
    for seed in range(NUM_WORLDS):  # domains take turns, so that drift of the machine meets all of them
        for name in DOMAINS:
            frames = render_snippet(seed, NUM_FRAMES, height=128, width=256, domain=name)
            next(frames)  # lays out the world
            for _ in range(NUM_FRAMES - 1):
                before_s = time.thread_time()
                next(frames)
                durations_ms[name].append(1000 * (time.thread_time() - before_s))
    cv2.setNumThreads(threads)
    table = Table(
        "domain", "p50 ms", "p5 to p95 ms", "frames/s", title=f"CPU time of a frame, {machine_facts()['cpu']}"
    )
    for name, values in durations_ms.items():
        low, middle, high = np.percentile(values, [5, 50, 95])
        table.add_row(name, f"{middle:.1f}", f"{low:.1f} to {high:.1f}", f"{1000 / middle:.0f}")
    Console().print(table)
