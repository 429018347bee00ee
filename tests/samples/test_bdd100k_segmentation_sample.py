"""Generated scenes in the layout of BDD100K's semantic segmentation: by day and night, with the world's masks."""

import re

import cv2
import numpy as np
import pytest

from lightning_edge.ops.cityscapes_labels import LABELS
from lightning_edge.samples.bdd100k import SPLIT_SEED as DETECTION_SEED
from lightning_edge.samples.bdd100k import scene_images
from lightning_edge.samples.bdd100k_segmentation import SPLIT_SEED, sample_bdd100k_segmentation
from lightning_edge.samples.world.camera import bdd100k_camera
from lightning_edge.samples.world.district import CITY
from lightning_edge.samples.world.frames import render_snippet

HEIGHT, WIDTH = 72, 128


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LIGHTNING_EDGE_CACHE", str(tmp_path_factory.mktemp("samples")))
        yield sample_bdd100k_segmentation(8, 4, HEIGHT, WIDTH)


def masks_of(root, split):
    folder = root / "labels/sem_seg/masks" / split
    return {path.stem: cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in sorted(folder.iterdir())}


@pytest.mark.parametrize(("split", "count"), [("train", 8), ("val", 4)])
def test_layout(root, split, count):
    masks = masks_of(root, split)
    images = {path.stem for path in (root / "images/10k" / split).glob("*.jpg")}
    assert images == masks.keys()
    assert len(images) == count
    assert all(re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{8}", name) for name in images)
    for mask in masks.values():
        assert (mask.dtype, mask.shape) == (np.uint8, (HEIGHT, WIDTH))
        assert set(np.unique(mask).tolist()) <= {*range(19), 255}
        assert {0, 10} <= set(np.unique(mask).tolist())  # road and sky


def test_a_mask_is_that_of_the_world_with_train_ids(root):
    words = np.random.SeedSequence([0, SPLIT_SEED["train"], 0]).generate_state(3)
    (frame,) = render_snippet(int(words[0]), 1, camera=bdd100k_camera(HEIGHT, WIDTH), district=CITY)
    train_ids = {label.label_id: label.train_id for label in LABELS}
    expected = np.vectorize(train_ids.get)(frame.mask)
    assert np.array_equal(masks_of(root, "train")[f"{words[1]:08x}-{words[2]:08x}"], expected)


def test_every_second_image_is_dark(root):
    images = [
        cv2.imread(str(root / f"images/10k/train/{image.name}.jpg")).mean()
        for image in scene_images("train", 8, ("day", "night"), [0, SPLIT_SEED["train"]])
    ]
    assert np.mean(images[::2]) > np.mean(images[1::2]) + 40


def test_worlds_differ_between_splits_and_from_those_of_the_detection_set(root):
    names = {path.stem for path in root.rglob("*.jpg")}
    assert len(names) == 12
    of_detection = [scene_images("", 100, ("day",), [0, seed]) for seed in DETECTION_SEED.values()]
    assert names.isdisjoint(image.name for images in of_detection for image in images)


def test_the_domain_changes_the_image_and_not_the_mask(tmp_path, monkeypatch):
    monkeypatch.setenv("LIGHTNING_EDGE_CACHE", str(tmp_path))
    by_day, by_night = (sample_bdd100k_segmentation(2, 1, HEIGHT, WIDTH, (domain,)) for domain in ("day", "night"))
    for name, mask in masks_of(by_day, "train").items():
        assert np.array_equal(mask, masks_of(by_night, "train")[name])
        images = [cv2.imread(str(root / f"images/10k/train/{name}.jpg")).mean() for root in (by_day, by_night)]
        assert images[0] > images[1] + 20


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_train": 0}, "expected num_train of at least 1, got 0"),
        ({"height": 8}, "expected height of at least"),
        ({"seed": -1}, "expected seed of at least 0, got -1"),
        ({"domains": ()}, "expected domains among .*, got"),
        ({"domains": ("snow",)}, r"expected domains among .*'night'.*, got \['snow'\]"),
    ],
)
def test_mistakes_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        sample_bdd100k_segmentation(**arguments)
