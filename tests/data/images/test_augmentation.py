import random
from collections import Counter
from typing import Any

import albumentations as A
import numpy as np
import pytest
from jsonargparse import ArgumentParser

from lightning_edge.data import CityscapesDataModule
from lightning_edge.data.images.augmentation import StreetAugmentation, apply_seeded

_RANDOM = np.random.default_rng(0)
_IMAGE = _RANDOM.integers(0, 256, (48, 96, 3), dtype=np.uint8)
_MASK = _RANDOM.integers(0, 19, (48, 96), dtype=np.uint8)

_TRANSFORMS = [
    StreetAugmentation(48, 96),
    A.Compose([A.OneOf([A.Perspective(p=1), A.ElasticTransform(p=1), A.Affine(rotate=(-20, 20), p=1)], p=1)]),
    A.Compose([A.GaussNoise(p=1), A.CoarseDropout(p=1), A.RandomBrightnessContrast(p=1), A.MotionBlur(p=1)]),
    A.Compose([A.RandomRain(p=1), A.RandomFog(p=1), A.HueSaturationValue(p=1)]),
    A.HorizontalFlip(p=1),
    A.NoOp(),
]


def _apply(transform: Any, seed: int) -> dict[str, Any]:
    return apply_seeded(transform, seed, images=np.stack([_IMAGE] * 4), mask=_MASK)


@pytest.mark.parametrize("transform", _TRANSFORMS, ids=lambda transform: type(transform).__name__)
def test_all_frames_change_alike(transform: Any):
    for seed in range(10):
        frames = _apply(transform, seed)["images"]
        assert all(np.array_equal(frame, frames[0]) for frame in frames)


@pytest.mark.parametrize("transform", _TRANSFORMS, ids=lambda transform: type(transform).__name__)
def test_a_clip_and_an_image_change_alike(transform: Any):
    clip, single = _apply(transform, 3), apply_seeded(transform, 3, image=_IMAGE, mask=_MASK)
    np.testing.assert_array_equal(clip["images"][0], single["image"])
    np.testing.assert_array_equal(clip["mask"], single["mask"])


def test_a_sample_follows_from_its_seed_alone():
    transform = StreetAugmentation(48, 96)
    first = _apply(transform, 5)["images"]
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    assert not np.array_equal(_apply(transform, 6)["images"], first)
    np.testing.assert_array_equal(_apply(transform, 5)["images"], first)


def test_parts_of_a_composition_are_independent():
    both = A.Compose([A.HorizontalFlip(p=0.5), A.VerticalFlip(p=0.5)])
    corner = np.arange(4, dtype=np.uint8).reshape(2, 2, 1).repeat(3, 2)
    counts = Counter(int(apply_seeded(both, seed, image=corner)["image"][0, 0, 0]) for seed in range(400))
    assert all(60 < counts[value] < 140 for value in range(4)), "each of the four outcomes in about a quarter"


def test_geometry_of_mask_and_image_agree():
    image = np.repeat(_MASK[..., None], 3, axis=2)
    transform = A.Compose([A.HorizontalFlip(p=0.5), A.RandomCrop(24, 32), A.D4(p=1)])
    for seed in range(10):
        sample = apply_seeded(transform, seed, image=image, mask=_MASK)
        np.testing.assert_array_equal(sample["image"][..., 0], sample["mask"])


def test_the_default_scales_mask_and_image_about_the_same_point():
    """Where a border lies in the image and in the mask, over many scales: neither is moved against the other."""
    mask = (np.arange(64) >= 21).astype(np.uint8)[:, None].repeat(64, 1)
    image = (200 * mask)[..., None].repeat(3, 2)
    transform = StreetAugmentation(64, 64, scale=(1.0, 1.5), color=0.0)
    shifts = []
    for seed in range(60):
        sample = apply_seeded(transform, seed, image=image, mask=mask)
        shifts.append(sample["image"][..., 0].mean(1).sum() / 200 - sample["mask"].mean(1).sum())
    assert abs(np.mean(shifts)) < 0.1
    assert np.abs(shifts).max() <= 0.5


def test_the_default_keeps_the_size_and_ignores_what_it_pads():
    transform = StreetAugmentation(48, 96, scale=(0.5, 0.5), color=0.0)
    sample = apply_seeded(transform, 0, image=np.full_like(_IMAGE, 200), mask=_MASK)
    assert sample["image"].shape == (48, 96, 3)
    padded = sample["mask"] == 255
    assert padded.mean() == pytest.approx(0.75)
    assert (sample["image"][padded] == 0).all()
    assert (sample["image"][~padded] > 0).all()


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("{class_path: albumentations.NoOp}", "NoOp"),
        (
            "{class_path: lightning_edge.data.StreetAugmentation, init_args: {height: 8, width: 9}}",
            "StreetAugmentation",
        ),
        ("{class_path: albumentations.Compose, init_args: {transforms: [{class_path: albumentations.D4}]}}", "Compose"),
        ("null", "NoneType"),
    ],
)
def test_a_transform_can_be_given_in_yaml(text: str, name: str):
    parser = ArgumentParser()
    parser.add_class_arguments(CityscapesDataModule, "data")
    data = parser.instantiate(parser.parse_string(f"data: {{train_transform: {text}}}")).data
    assert type(data.train_transform).__name__ == name
