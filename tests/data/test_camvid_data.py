import shutil
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import albumentations as A
import numpy as np
import pytest
import torch
from conftest import leave_system_files, write_image, write_mask

from lightning_edge.batch_checks import check_batch
from lightning_edge.data import CamVidDataModule, CamVidVideoDataModule
from lightning_edge.data.camvid import check_protocol

_REAL = Path(__file__).parents[3] / "shared" / "data" / "camvid"
_needs_real = pytest.mark.skipif(not _REAL.is_dir(), reason="needs CamVid")


def _make(kind: Any, root: Path, **arguments: Any) -> Any:
    return kind(root, **{"batch_size": 2, "num_workers": 0, "train_transform": A.NoOp(), **arguments})


def _frames(data: Any, split: Any) -> list[list[tuple[str, int]]]:
    """Sequence and frame number of each frame of each clip."""
    names = [[path.stem.split("_") for path in clip.frames] for clip in data.clips(split)]
    return [[(sequence, int(frame.removeprefix("f"))) for sequence, frame in clip] for clip in names]


@pytest.mark.parametrize("kind", [CamVidDataModule, CamVidVideoDataModule])
def test_batches_keep_the_contract(kind: Any, camvid_root: Path):
    data = _make(kind, camvid_root, train_transform=None, **({} if kind is CamVidDataModule else {"max_distance": 5}))
    assert data.num_classes == len(data.class_names) == len(data.palette) == 11
    data.setup()
    for loader in (data.train_dataloader(), data.val_dataloader(), data.test_dataloader()):
        for batch in loader:
            check_batch(data.on_after_batch_transfer(batch, 0), kind.batch_type)


def test_void_is_ignored(camvid_root: Path):
    batch = next(iter(_make(CamVidDataModule, camvid_root).val_dataloader()))
    assert batch["mask"][0, 0].tolist() == [0] * 16 + [255] * 16


def test_a_clip_crosses_no_gap(camvid_root: Path):
    data = _make(CamVidVideoDataModule, camvid_root, train_distances=(4,), max_distance=9)
    starts = Counter(clip[0] for clip in _frames(data, "train"))
    # ten images make six clips of five; 0016E5 lacks the fifth image, and keeps five in a row behind it
    assert Counter(sequence for sequence, _ in starts) == {"0001TP": 6, "0006R0": 6, "0016E5": 1}
    assert ("0016E5", 150) in starts
    assert _frames(data, "val") == [[("0016E5", 1000 + 2 * (s + i)) for i in range(10)] for s in range(3)]


def test_no_clip_at_all(camvid_root: Path):
    with pytest.raises(ValueError, match=r"expected 7 consecutive labeled images.*test split.*lower max_distance"):
        _make(CamVidVideoDataModule, camvid_root, max_distance=6).setup("test")


def test_held_out_sequence(camvid_root: Path):
    data = _make(CamVidDataModule, camvid_root, protocol="held-out-sequence")
    assert {frame[0][0] for frame in _frames(data, "train")} == {"0001TP", "0006R0"}
    assert {frame[0][0] for frame in _frames(data, "val")} == {"0001TP"}
    assert {frame[0][0] for frame in _frames(data, "test")} == {"0016E5"}


def test_missing_files(camvid_root: Path, tmp_path: Path):
    with pytest.raises(FileNotFoundError, match=r"no image in .*train: expected root to contain train/SEQUENCE_FRAME"):
        _make(CamVidDataModule, tmp_path).setup()
    (tmp_path / "train").symlink_to(camvid_root / "train")
    with pytest.raises(FileNotFoundError, match=r"29 of 29 images in .* have no mask.*0001TP_000000\.png"):
        _make(CamVidDataModule, tmp_path).setup()


def test_a_strange_name(tmp_path: Path):
    for folder in ("train", "trainannot"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "holiday.png").touch()
    with pytest.raises(ValueError, match=r"holiday\.png: expected a name of sequence and frame"):
        _make(CamVidDataModule, tmp_path).setup()


@pytest.mark.parametrize("kind", [CamVidDataModule, CamVidVideoDataModule])
def test_files_of_operating_systems_are_passed_over(kind: Any, camvid_root: Path, tmp_path: Path):
    root = Path(shutil.copytree(camvid_root, tmp_path / "root"))
    leave_system_files(root)
    arguments = {} if kind is CamVidDataModule else {"max_distance": 5}
    littered, clean = (_make(kind, folder, **arguments) for folder in (root, camvid_root))
    littered.setup()
    for split in ("train", "val", "test"):
        assert _frames(littered, split) == _frames(clean, split)


@pytest.mark.parametrize("suffix", [".png", ".PNG", ".jpg", ".JPG", ".jpeg", ".JPEG"])
def test_endings_of_images(tmp_path: Path, suffix: str):
    write_image(tmp_path / f"train/0001TP_000000{suffix}", 7)
    write_mask(tmp_path / f"trainannot/0001TP_000000{'.PNG' if suffix.isupper() else '.png'}", 0)
    assert len(_make(CamVidDataModule, tmp_path).dataset("train")) == 1


@pytest.mark.parametrize("other", ["train/0001TP_000000.jpg", "train/0001TP_0.png", "trainannot/0001TP_000000.PNG"])
def test_two_files_for_one_frame_are_refused(tmp_path: Path, other: str):
    write_image(tmp_path / "train/0001TP_000000.png", 7)
    write_mask(tmp_path / "trainannot/0001TP_000000.png", 0)
    write_image(tmp_path / other, 7)
    first = Path(other).with_name("0001TP_000000.png")
    with pytest.raises(ValueError, match="expected one file for each frame") as error:
        _make(CamVidDataModule, tmp_path).setup("fit")
    assert str(tmp_path / first) in str(error.value)
    assert str(tmp_path / other) in str(error.value)


@_needs_real
def test_real_splits():
    data = _make(CamVidDataModule, _REAL)
    data.setup()
    assert [len(data.dataset(split)) for split in ("train", "val", "test")] == [367, 101, 233]
    held_out = _make(CamVidDataModule, _REAL, protocol="held-out-sequence")
    assert [len(held_out.clips(split)) for split in ("train", "val", "test")] == [163, 62, 101]
    masks = {split: {clip.mask for clip in held_out.clips(split)} for split in ("train", "val", "test")}
    assert all(masks[a].isdisjoint(masks[b]) for a, b in pairwise(("train", "val", "test", "train")))


@_needs_real
def test_real_clips():
    data = _make(CamVidVideoDataModule, _REAL, protocol="held-out-sequence", train_distances=(1, 2, 3, 4))
    dense = _frames(data, "test")
    assert len(dense) == 101 - 9
    assert {after[1] - before[1] for clip in dense for before, after in pairwise(clip)} == {2}
    train = _frames(data, "train")
    assert len(train) == 163 - 2 * 4
    assert {after[1] - before[1] for clip in train for before, after in pairwise(clip)} == {30}
    assert all(len({sequence for sequence, _ in clip}) == 1 for clip in train + dense)
    batch = next(iter(data.test_dataloader()))
    assert batch["frames"].shape == (2, 10, 3, 360, 480)


@_needs_real
def test_real_labels():
    data = _make(CamVidDataModule, _REAL)
    dataset: Any = data.dataset("val")
    masks = torch.stack([dataset[index]["mask"] for index in range(0, 101, 10)])
    assert set(masks.unique().tolist()) <= {*range(11), 255}
    most_common = [int(np.bincount(row.flatten(), minlength=256).argmax()) for row in masks[:, [0, -1]].swapaxes(0, 1)]
    assert [data.class_names[label] for label in most_common] == ["sky", "road"]


@pytest.mark.usefixtures("sample_cache")
def test_sample_data_is_the_default():
    for kind in (CamVidDataModule, CamVidVideoDataModule):
        data = kind(num_samples=(12, 10), sample_size=(32, 48), batch_size=2, num_workers=0)
        data.prepare_data()
        data.setup("fit")
        for loader in (data.train_dataloader(), data.val_dataloader()):
            check_batch(data.on_after_batch_transfer(next(iter(loader)), 0), kind.batch_type)


def test_an_unknown_protocol_is_refused():
    with pytest.raises(
        ValueError, match=r"expected protocol to be one of \('usual', 'held-out-sequence'\), got 'heldout'"
    ):
        check_protocol("heldout")  # in tests the type of a constructor's argument is checked before
