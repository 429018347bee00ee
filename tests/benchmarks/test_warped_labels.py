"""True labels warped from frame to frame by the flow: how much of the truth itself a warp keeps."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch.nn.functional as F
from rich.console import Console
from rich.table import Table
from torch import Tensor

from lightning_edge.contracts import IGNORE_INDEX
from lightning_edge.data import CamVidDataModule, CityscapesDataModule, labeled_drive
from lightning_edge.metrics.keyframe_iou import KeyframeIoU
from lightning_edge.nn import DISFlow
from lightning_edge.ops.warp import warp

pytestmark = pytest.mark.benchmark

CAMVID = Path(__file__).parents[2] / "../shared/data/camvid"
FLOWS = {"copied": None} | {f"DIS {preset}": DISFlow(preset) for preset in ("ultrafast", "fast", "medium")}
NUM_DISTANCES = 10
NUM_DRIVES, DRIVE_FRAMES = 20, 30
Video = Iterable[tuple[Tensor, Tensor]]
"""Frames ``[1, 3, height, width]`` in [0, 1] with their masks ``[1, height, width]``."""


def camvid() -> Iterator[tuple[Tensor, Tensor]]:
    data = CamVidDataModule(CAMVID, protocol="held-out-sequence", eval_batch_size=1, num_workers=0)
    data.setup("test")
    for batch in data.test_dataloader():
        batch = data.on_after_batch_transfer(batch, 0)
        yield batch["image"], batch["mask"]


def drive(seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    for frame, mask in labeled_drive(seed, DRIVE_FRAMES):
        yield frame[None], mask[None]


def count(video: Video, iou: dict[str, KeyframeIoU], num_classes: int) -> None:
    """Count, on each frame with enough before it, the labels of every frame before it, warped there."""
    warped: dict[str, list[Tensor]] = {name: [] for name in FLOWS}
    previous = None
    for frame, mask in video:
        share = one_hot(mask, num_classes)
        for name, flow in FLOWS.items():
            kept = warped[name][: NUM_DISTANCES - 1]
            if flow is not None and previous is not None:
                motion = flow(frame, previous)
                kept = [warp(labels, motion) for labels in kept]
            warped[name] = [share, *kept]
            if len(warped[name]) == NUM_DISTANCES:
                for distance, labels in enumerate(warped[name]):
                    iou[name].update(labels.argmax(1), mask.where(labels.any(1), IGNORE_INDEX), distance)
        previous = frame


def one_hot(mask: Tensor, num_classes: int) -> Tensor:
    """A channel for each class, all zero where there is no label: places that no label comes to are not counted."""
    classes = F.one_hot(mask.where(mask != IGNORE_INDEX, num_classes), num_classes + 1)[..., :num_classes]
    return classes.permute(0, 3, 1, 2).float()


def print_scores(title: str, iou: dict[str, KeyframeIoU]) -> dict[str, tuple[float, ...]]:
    table = Table(
        "labels", *map(str, range(1, NUM_DISTANCES)), "n = 5", title=f"{title}: mIoU % by frames since the label"
    )
    scores = {name: actual.compute() for name, actual in iou.items()}
    for name, actual in scores.items():
        table.add_row(name, *(f"{100 * value:.1f}" for value in (*actual.by_distance[1:], actual.by_interval[4])))
    Console(width=120).print(table)
    return {name: actual.by_distance for name, actual in scores.items()}


@pytest.mark.parametrize(
    ("title", "videos", "num_classes"),
    [
        pytest.param(
            "CamVid 0016E5, 480x360, 15 Hz",
            [camvid],
            CamVidDataModule.num_classes,
            marks=pytest.mark.skipif(not CAMVID.is_dir(), reason="needs CamVid"),
        ),
        (
            "sample world, 256x128, 17 Hz",
            [partial(drive, seed) for seed in range(NUM_DRIVES)],
            CityscapesDataModule.num_classes,
        ),
    ],
    ids=["CamVid", "sample world"],
)
def test_labels_are_carried(
    title: str, videos: list[Callable[[], Video]], num_classes: int, capsys: pytest.CaptureFixture[str]
) -> None:
    iou = {name: KeyframeIoU(num_classes, NUM_DISTANCES) for name in FLOWS}
    for video in videos:
        count(video(), iou, num_classes)
    with capsys.disabled():
        scores = print_scores(title, iou)
    assert scores["copied"][0] == 1
    assert np.all(np.array(scores["DIS fast"])[1:5] > np.array(scores["copied"])[1:5])
