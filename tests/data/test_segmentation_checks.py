"""Mistakes in an own data module for segmentation show in ``setup``, each as one error with the values."""

from pathlib import Path
from typing import Any

import albumentations as A
import cv2
import numpy as np
import pytest
import torch

from lightning_edge.data import DetectionDataModule, SegmentationDataModule, SegmentationVideoDataModule
from lightning_edge.data import segmentation as segmentation_module
from lightning_edge.data.base import collate_one_size
from lightning_edge.data.images.files import label_table
from lightning_edge.data.segmentation import LabeledClip

KINDS = [SegmentationDataModule, SegmentationVideoDataModule]


def _write(folder: Path, name: str, size: tuple[int, int] = (16, 24), label: int = 1) -> LabeledClip:
    paths = folder / f"{name}.png", folder / f"{name}_mask.png"
    cv2.imwrite(str(paths[0]), np.zeros((*size, 3), np.uint8))
    cv2.imwrite(str(paths[1]), np.full(size, label, np.uint8))
    return LabeledClip((paths[0],) * 3, paths[1])


def _make(kind: Any, clips: dict[str, list[LabeledClip]] | list[LabeledClip], **others: Any) -> Any:
    """A data module of two classes with these clips, for the class attributes in ``others``."""
    members = {
        "num_classes": 2,
        "class_names": ("road", "other"),
        "label_table": label_table({0: 0, 1: 1, 255: 255}),
        "clips": lambda self, split: clips[split] if isinstance(clips, dict) else clips,
    }
    arguments = {"batch_size": 2, "num_workers": 0, "train_transform": A.NoOp()}
    arguments |= {"max_distance": 2, "train_distances": (1, 2)} if kind is SegmentationVideoDataModule else {}
    arguments |= {name: others.pop(name) for name in tuple(others) if name in ("eval_batch_size", "num_workers")}
    return type("Own", (kind,), members | others)(**arguments)


WRONG = [
    (
        {"class_names": ("road",)},
        r"class_names with one entry for each class \(2 by num_classes\), got 1: \('road',\)",
    ),
    ({"class_names": ("a", "b", "c")}, r"class_names .*2 by num_classes\), got 3: \('a', 'b', 'c'\)"),
    ({"palette": ((1, 2, 3),)}, r"palette with one entry for each class \(2 by num_classes\), got 1"),
    ({"class_names": ("a", "a")}, r"name of each class to differ .* logged by name, got \['a', 'a'\]: rename"),
    ({"class_names": ("traffic-light", "traffic light")}, r"to differ .*, got \['traffic-light', 'traffic light'\]"),
    ({"class_names": ("road", "?!")}, r"expected the name of each class to have a letter or a digit, got '\?!'"),
    (
        {"label_table": label_table({0: 0, 1: 1, 2: 2, 3: 9})},
        r"classes 0\.\.1, because num_classes is 2.* got \[2, 9\]",
    ),
    ({"label_table": {0: 0}}, r"expected label_table as .*data\.label_table\(.* makes it, got dict"),
    (
        {"num_classes": 1, "class_names": ("a",)},
        r"a label_table of classes 0\.\.0, because num_classes is 1.* got \[1\]",
    ),
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stage", ["fit", "validate", "test"])
@pytest.mark.parametrize(("members", "message"), WRONG)
def test_classes_that_disagree(tmp_path: Path, kind: Any, stage: str, members: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        _make(kind, [_write(tmp_path, "a")], **members).setup(stage)


@pytest.mark.parametrize("kind", KINDS)
def test_classes_that_agree(tmp_path: Path, kind: Any):
    clips = [_write(tmp_path, "a")]
    _make(kind, clips, palette=((0, 0, 0), (1, 1, 1))).setup()
    _make(kind, clips, num_classes=3, class_names=("道路", "車", "air plane")).setup()


def test_class_names_of_detection():
    class Twice(DetectionDataModule):
        num_classes, class_names, palette, vocabulary = 2, ("traffic light", "traffic_light"), ((0, 0, 0),) * 2, {}

        def labeled_images(self, split: Any) -> Any:
            raise AssertionError

    with pytest.raises(ValueError, match=r"to differ .*, got \['traffic light', 'traffic_light'\]"):
        Twice((8, 8)).setup("fit")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("stage", "split"), [("fit", "train"), ("fit", "val"), ("test", "test")])
def test_a_split_without_a_labeled_pixel(tmp_path: Path, kind: Any, stage: str, split: str):
    good, void = _write(tmp_path, "a"), [_write(tmp_path, f"void{number}", label=255) for number in range(5)]
    clips = {"train": [good], "val": [good], "test": [good]}
    with pytest.raises(ValueError, match=rf"labeled pixels in the {split} split, got none in 5 of its 5 masks.*void0"):
        _make(kind, clips | {split: void}).setup(stage)
    _make(kind, clips | {split: [*void, good]}).setup(stage)


def test_many_masks_without_a_labeled_pixel_are_warned_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(segmentation_module, "_MAX_MASKS", 4)
    void = [_write(tmp_path, f"void{number}", label=255) for number in range(5)]
    with pytest.warns(UserWarning, match=r"labeled pixels in the val split, got none in 4 of its 5 masks"):
        _make(SegmentationDataModule, void).setup("validate")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stage", ["fit", "validate", "test"])
def test_evaluation_images_of_several_sizes(tmp_path: Path, kind: Any, stage: str):
    same = [_write(tmp_path, str(number)) for number in range(4)]
    mixed = [*same, _write(tmp_path, "wide", (16, 32))]
    clips = {"train": same, "val": mixed, "test": mixed}
    message = r"got \(16, 24\) in .*0\.png and \(16, 32\) in .*wide\.png: use eval_batch_size=1"
    with pytest.raises(ValueError, match=message):
        _make(kind, clips).setup(stage)
    data = _make(kind, clips, eval_batch_size=1)
    data.setup(stage)
    assert len(list(data.val_dataloader())) == 5


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("num_workers", [0, 1])
def test_sizes_that_meet_in_a_batch(tmp_path: Path, kind: Any, num_workers: int):
    clips = [_write(tmp_path, "a"), _write(tmp_path, "wide", (16, 32))]
    data = _make(kind, clips, eval_batch_size=1, num_workers=num_workers)
    data.setup()
    data.eval_batch_size = 2
    message = r"the same size, got .* in \S*(a|wide)\.png and .* in \S*(a|wide)\.png: use eval_batch_size=1 .*train_tr"
    for loader in (data.val_dataloader(), data.train_dataloader()):
        with pytest.raises(ValueError, match=message):
            list(loader)
        if num_workers:
            loader._iterator._shutdown_workers()  # else torch waits five seconds for each worker


def test_samples_that_name_no_file():
    with pytest.raises(ValueError, match=r"got image of \(3, 4, 5\) in one and \(3, 4, 6\) in another: use eval_batch"):
        collate_one_size([{"image": torch.zeros(3, 4, width)} for width in (5, 6)])
    assert len(collate_one_size([(torch.zeros(2), 1), (torch.zeros(2), 1)])) == 2
