import numpy as np
import pytest
import torch

from lightning_edge.data import boxed_drive, labeled_drive
from lightning_edge.ops.cityscapes_labels import LABELS
from lightning_edge.samples.bdd100k_labels import box_labels
from lightning_edge.samples.world.camera import bdd100k_camera
from lightning_edge.samples.world.frames import render_snippet


def test_a_drive_is_the_snippet_with_train_ids():
    train_id_of = np.array([label.train_id for label in LABELS])
    snippet = list(render_snippet(7, 3, height=48, width=96, domain="night"))
    drive = list(labeled_drive(7, 3, 48, 96, "night"))
    assert len(drive) == 3
    for (image, mask), frame in zip(drive, snippet, strict=True):
        assert torch.equal((image * 255).round().byte().permute(1, 2, 0), torch.from_numpy(frame.image))
        assert torch.equal(mask, torch.from_numpy(train_id_of[frame.mask]))


def test_bad_arguments_are_told_when_the_drive_is_asked_for():
    with pytest.raises(ValueError, match="expected num_frames of at least 1, got 0"):
        labeled_drive(0, 0)


def test_bad_arguments_of_a_boxed_drive_are_told_when_it_is_asked_for():
    with pytest.raises(ValueError, match=r"expected domain to be one of .*, got 'plain'"):
        boxed_drive(0, 1, domain="plain")
    with pytest.raises(ValueError, match="expected num_frames of at least 1, got 0"):
        boxed_drive(0, 0)


def test_a_boxed_drive_has_the_labels_of_the_sample_data():
    snippet = list(render_snippet(7, 2, domain="rain", camera=bdd100k_camera(144, 256)))
    drive = list(boxed_drive(7, 2, domain="rain"))
    assert len(drive) == 2
    for (image, truth), frame in zip(drive, snippet, strict=True):
        assert torch.equal((image * 255).round().byte().permute(1, 2, 0), torch.from_numpy(frame.image))
        assert truth.attributes["weather"] == "rainy"
        boxes = [tuple(label["box2d"].values()) for label in box_labels(frame)]
        assert sorted(boxes) == sorted(map(tuple, np.concatenate([truth.boxes_xyxy, truth.ignored_xyxy]).tolist()))
    assert len({truth.name for _, truth in drive}) == 2
