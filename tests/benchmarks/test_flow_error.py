"""Optical flow alone: end-point error and time on real pairs with true flow and on the sample world."""

from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import pytest
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from lightning_edge.nn import DISFlow
from lightning_edge.ops.resize import resize_flow
from lightning_edge.samples.world.frames import render_snippet
from lightning_edge.timing import interleave

pytestmark = pytest.mark.benchmark

REAL = Path(__file__).parents[2] / "../shared/data/flow"
FLOWS = {f"DIS {preset}": DISFlow(preset) for preset in ("ultrafast", "fast", "medium")}
NUM_WORLDS, NUM_FRAMES = 10, 10


class Pair(NamedTuple):
    """Two frames, the true flow from the first to the second, and where it is to be found."""

    current: Tensor
    previous: Tensor
    flow: np.ndarray
    counts: np.ndarray


def to_tensor(image: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None].float() / 255


def real_pair(first: str, second: str, flow: str) -> Pair:
    frames = (to_tensor(cv2.imread(str(REAL / name))[..., ::-1]) for name in (first, second))
    true = cv2.readOpticalFlow(str(REAL / flow))
    counts = np.isfinite(true).all(-1) & (np.abs(true) < 1e9).all(-1)  # unknown flow is written as a huge one
    return Pair(*frames, true, counts)


def sample_pairs(domain: str) -> Iterator[Pair]:
    for seed in range(NUM_WORLDS):
        frames = list(render_snippet(seed, NUM_FRAMES, domain=domain))
        for before, now in pairwise(frames):
            yield Pair(to_tensor(now.image), to_tensor(before.image), now.flow_to_previous, ~now.occluded)


def print_errors(title: str, pairs: list[Pair]) -> dict[str, float]:
    """Print, and return by name, the mean distance between flow and truth in pixels, and print the time of a pair."""
    flows: Mapping[str, Any] = {"no motion": lambda current, previous: torch.zeros_like(current[:, :2]), **FLOWS}
    first = pairs[0]
    times = interleave({name: lambda f=flow: f(first.current, first.previous) for name, flow in flows.items()}, 20)
    table = Table("flow", "error px", "error px, moved above 3 px", "p50 ms", title=title)
    means = {}
    for name, flow in flows.items():
        errors, fast = [], []
        for pair in pairs:
            actual = resize_flow(flow(pair.current, pair.previous), pair.current)[0].permute(1, 2, 0).numpy()
            distance = np.linalg.norm(actual - pair.flow, axis=-1)
            errors.append(distance[pair.counts].mean())
            fast.extend(distance[pair.counts & (np.linalg.norm(pair.flow, axis=-1) > 3)])
        means[name] = float(np.mean(errors))
        moved = f"{np.mean(fast):.2f}" if fast else "-"
        table.add_row(name, f"{means[name]:.2f}", moved, f"{times[name].percentile(50).value:.1f}")
    Console().print(table)
    return means


@pytest.mark.skipif(not REAL.is_dir(), reason="needs the pairs with true flow")
@pytest.mark.parametrize(
    ("title", "names"),
    [
        ("rubber whale", ["rubber_whale/frame10.png", "rubber_whale/frame11.png", "rubber_whale/flow10.flo"]),
        ("chairs 0", [f"flying_chairs/0{name}" for name in ("img0.ppm", "img1.ppm", "flow.flo")]),
        ("chairs 1", [f"flying_chairs/1{name}" for name in ("img0.ppm", "img1.ppm", "flow.flo")]),
    ],
)
def test_error_on_real_pairs(title: str, names: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    pair = real_pair(*names)
    with capsys.disabled():
        means = print_errors(f"{title}, {pair.flow.shape[1]}x{pair.flow.shape[0]}", [pair])
    assert means["DIS medium"] < means["no motion"]  # else the direction is wrong


@pytest.mark.parametrize("domain", ["day", "night", "rain", "fog"])
def test_error_on_the_sample_world(domain: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Where the earlier frame shows the point."""
    with capsys.disabled():
        means = print_errors(f"sample world, {domain}, 256x128, 17 Hz", list(sample_pairs(domain)))
    assert means["DIS medium"] < means["no motion"]
