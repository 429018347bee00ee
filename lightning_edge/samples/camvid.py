"""Sample data in the layout of CamVid, as the SegNet tutorial distributes it."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from lightning_edge.checks import check_whole_at_least
from lightning_edge.samples.cache import make_once
from lightning_edge.samples.world.camera import camvid_camera
from lightning_edge.samples.world.district import SUBURB
from lightning_edge.samples.world.frames import MIN_SIZE_PX, WORLD_VERSION, render_snippet
from lightning_edge.samples.world.labels import Label
from lightning_edge.samples.writing import run_jobs, write_map, write_rgb

VOID = 11
RATE_HZ = 30.0
SPARSE_STEP, DENSE_STEP = 30, 2
"""Frames of the 30 Hz video between labels, for 1 and 15 labels per second; 15 in the validation clip (0016E5)."""
DRIVE_FRAMES = 10
"""Labels in a drive through one world. Frame numbers skip ``GAP_FRAMES`` between drives, where clips must end."""
GAP_FRAMES = 300

CLASS_OF_LABEL: dict[Label, int] = {
    Label.SKY: 0, Label.BUILDING: 1, Label.WALL: 1, Label.POLE: 2, Label.ROAD: 3, Label.SIDEWALK: 4,
    Label.VEGETATION: 5, Label.TRAFFIC_SIGN: 6, Label.TRAFFIC_LIGHT: 6, Label.FENCE: 7, Label.CAR: 8, Label.TRUCK: 8,
    Label.BUS: 8, Label.PERSON: 9, Label.RIDER: 10, Label.BICYCLE: 10, Label.MOTORCYCLE: 10,
}  # fmt: skip
"""The 11 classes of SegNet. All other classes are void."""


@dataclass(frozen=True)
class _Drive:
    """Consecutive labeled frames of one world."""

    split: str
    sequence: str
    frame0: int
    step: int
    count: int
    world_seed: int


def sample_camvid(
    num_train: int = 80, num_val: int = 40, num_test: int = 40, height: int = 120, width: int = 160, seed: int = 0
) -> Path:
    """Folder of a data set in the layout of SegNet's CamVid, which is generated on the first call.

    Training and test images are one second apart, in drives of ten images through different worlds. The validation
    images are one clip at 15 Hz. As in the real data, half of the training and test images are named 0001TP, so that
    splits by sequence can be tried.

    Args:
        num_train: Number of training images.
        num_val: Number of validation images.
        num_test: Number of test images.
        height: Height of an image, in pixels.
        width: Width of an image, in pixels.
        seed: Seed of the worlds.

    Raises:
        ValueError: An argument is out of range.
    """
    check_whole_at_least(1, num_train=num_train, num_val=num_val, num_test=num_test)
    check_whole_at_least(MIN_SIZE_PX, height=height, width=width)
    check_whole_at_least(0, seed=seed)
    arguments = {"num_train": num_train, "num_val": num_val, "num_test": num_test, "height": height, "width": width,
                 "seed": seed}  # fmt: skip
    drives = _drives(num_train, num_val, num_test, seed)

    def write(root: Path) -> None:
        run_jobs(partial(_write_drive, root=root, height=height, width=width), drives, "camvid sample")

    return make_once("camvid", WORLD_VERSION, arguments, write)


def _drives(num_train: int, num_val: int, num_test: int, seed: int) -> list[_Drive]:
    """Names follow the real ones: 0001TP is cut into training and test, 0006R0 and Seq05VD belong to one split each."""
    half = (num_train + 1) // 2
    num_drives_before_test = -(-half // DRIVE_FRAMES)
    test0 = 6690 + half * SPARSE_STEP + num_drives_before_test * GAP_FRAMES
    plan = [
        ("train", "0001TP", 6690, SPARSE_STEP, half),
        ("train", "0006R0", 930, SPARSE_STEP, num_train - half),
        ("val", "0016E5", 7959, DENSE_STEP, num_val),
        ("test", "0001TP", test0, SPARSE_STEP, (num_test + 1) // 2),
        ("test", "Seq05VD", 0, SPARSE_STEP, num_test // 2),
    ]
    drives = []
    for number, (split, sequence, frame0, step, count) in enumerate(plan):
        length = count if step == DENSE_STEP else DRIVE_FRAMES
        for part, first in enumerate(range(0, count, max(length, 1))):
            state = np.random.SeedSequence([seed, 1000 + number, part])
            world_seed = int(state.generate_state(1)[0])
            start = frame0 + first * step + part * GAP_FRAMES
            drives.append(_Drive(split, sequence, start, step, min(length, count - first), world_seed))
    return drives


def _write_drive(drive: _Drive, root: Path, height: int, width: int) -> None:
    table = np.full(256, VOID, np.uint8)
    for label, index in CLASS_OF_LABEL.items():
        table[label] = index
    frames = render_snippet(
        drive.world_seed,
        drive.count,
        RATE_HZ / drive.step,
        height,
        width,
        camera=camvid_camera(height, width),
        district=SUBURB,
    )
    for index, frame in enumerate(frames):
        name = f"{drive.sequence}_{drive.frame0 + index * drive.step:06d}.png"
        write_rgb(root / drive.split / name, frame.image)
        write_map(root / f"{drive.split}annot" / name, table[frame.mask])
