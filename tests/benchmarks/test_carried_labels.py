"""True labels carried from frame to frame by the flow: what no net that warps can be expected to exceed."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch.nn.functional as F
from rich.console import Console
from rich.table import Table
from torch import Tensor

from lightning_edge.contracts import IGNORE_INDEX
from lightning_edge.data import CamVidDataModule
from lightning_edge.data.drive import labelled_drive
from lightning_edge.nn import DISFlow
from lightning_edge.nn.keyframe_iou import KeyframeIoU
from lightning_edge.ops.cityscapes_labels import TRAIN_LABELS
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
    for frame, mask in labelled_drive(seed, DRIVE_FRAMES):
        yield frame[None], mask[None]


def count(video: Video, iou: dict[str, KeyframeIoU], num_classes: int) -> None:
    """Count, on each frame with enough before it, the labels of every frame before it, carried there."""
    carried: dict[str, list[Tensor]] = {name: [] for name in FLOWS}
    previous = None
    for frame, mask in video:
        share = one_hot(mask, num_classes)
        for name, flow in FLOWS.items():
            kept = carried[name][: NUM_DISTANCES - 1]
            if flow is not None and previous is not None:
                motion = flow(frame, previous)
                kept = [warp(labels, motion) for labels in kept]
            carried[name] = [share, *kept]
            if len(carried[name]) == NUM_DISTANCES:
                for distance, labels in enumerate(carried[name]):
                    iou[name].update(labels.argmax(1), mask, distance)
        previous = frame


def one_hot(mask: Tensor, num_classes: int) -> Tensor:
    """A channel for each class, all zero where there is no label: a place that no label comes to counts as class 0."""
    classes = F.one_hot(mask.where(mask != IGNORE_INDEX, num_classes), num_classes + 1)[..., :num_classes]
    return classes.permute(0, 3, 1, 2).float()


def print_scores(title: str, iou: dict[str, KeyframeIoU]) -> dict[str, tuple[float, ...]]:
    table = Table(
        "labels", *map(str, range(1, NUM_DISTANCES)), "n = 5", title=f"{title}: mIoU % by frames since the label"
    )
    scores = {name: found.compute() for name, found in iou.items()}
    for name, found in scores.items():
        table.add_row(name, *(f"{100 * value:.1f}" for value in (*found.by_distance[1:], found.by_interval[4])))
    Console(width=120).print(table)
    return {name: found.by_distance for name, found in scores.items()}


@pytest.mark.skipif(not CAMVID.is_dir(), reason="needs CamVid")
def test_labels_of_a_real_video(capsys: pytest.CaptureFixture[str]) -> None:
    iou = {name: KeyframeIoU(CamVidDataModule.num_classes, NUM_DISTANCES) for name in FLOWS}
    count(camvid(), iou, CamVidDataModule.num_classes)
    with capsys.disabled():
        scores = print_scores("CamVid 0016E5, 480x360, 15 Hz", iou)
    assert scores["copied"][0] == 1
    assert np.all(np.array(scores["DIS fast"])[1:5] > np.array(scores["copied"])[1:5])


def test_labels_of_the_sample_world(capsys: pytest.CaptureFixture[str]) -> None:
    num_classes = len(TRAIN_LABELS)
    iou = {name: KeyframeIoU(num_classes, NUM_DISTANCES) for name in FLOWS}
    for seed in range(NUM_DRIVES):
        count(drive(seed), iou, num_classes)
    with capsys.disabled():
        scores = print_scores("sample world, 256x128, 17 Hz", iou)
    assert scores["copied"][0] == 1
    assert np.all(np.array(scores["DIS fast"])[1:5] > np.array(scores["copied"])[1:5])
