"""A batch that is augmented at once is what albumentations makes of each of its images alone."""

import random

import albumentations as A
import cv2
import numpy as np
import pytest
from albumentations.augmentations.crops.transforms import CropSizeError

from lightning_edge.data.images.augmentation import CropFlip, RandomShift
from lightning_edge.data.images.batch_augmentation import augment_batch

NUM_IMAGES = 300  # all 81 places of a window within a padding of 4 pixels are likely to occur
IMAGES = np.random.default_rng(0).integers(0, 256, (NUM_IMAGES, 32, 32, 3), dtype=np.uint8)
SEEDS = [int(seed) for seed in np.random.default_rng(1).integers(0, 2**64, NUM_IMAGES, dtype=np.uint64)]


class Brighter(CropFlip):
    def __call__(self, **targets):
        return {"image": super().__call__(**targets)["image"] // 2 + 128}


class InverseCrop(A.RandomCrop):
    def apply(self, img, **params):
        return 255 - super().apply(img, **params)


def with_more_steps():
    transform = CropFlip()
    transform.transforms.append(A.InvertImg(p=0.5))
    return transform


AT_ONCE = {
    "CropFlip": CropFlip(),
    "RandomShift": RandomShift(),
    "a smaller window": CropFlip(24, 27, padding=3),
    "no padding": CropFlip(31, 32, padding=0),
    "a composition": A.Compose([A.Pad(2), A.RandomCrop(30, 36), A.HorizontalFlip(p=0.2)]),
    "large enough": A.Compose([A.Pad(4), A.RandomCrop(32, 32, pad_if_needed=True)]),
    "every image flipped": A.Compose([A.Pad(1), A.RandomCrop(32, 32), A.HorizontalFlip(p=1)]),
    "no image flipped": A.Compose([A.Pad(1), A.RandomCrop(32, 32), A.HorizontalFlip(p=0)]),
}
ONE_BY_ONE = {
    "nothing": A.NoOp(),
    "floats": A.ToFloat(),
    "images of several sizes": A.RandomScale((-0.5, 0.5), p=1),
    "one step": A.HorizontalFlip(p=0.5),
    "other steps": A.Compose([A.RandomCrop(24, 24), A.ColorJitter(p=1)]),
    "more steps": with_more_steps(),
    "another order": A.Compose([A.RandomCrop(32, 32), A.Pad(4), A.HorizontalFlip()]),
    "a subclass": Brighter(),
    "a step that is a subclass": A.Compose([A.Pad(4), InverseCrop(32, 32)]),
    "another kind of composition": A.Sequential([A.Pad(4), A.RandomCrop(32, 32), A.HorizontalFlip()], p=1),
    "seldom": A.Compose([A.Pad(0), A.RandomCrop(32, 32), A.HorizontalFlip()], p=0.5),
    "padded seldom": A.Compose([A.Pad(4, p=0.5), A.RandomCrop(32, 32), A.HorizontalFlip()]),
    "cropped seldom": A.Compose([A.Pad(0), A.RandomCrop(32, 32, p=0.5), A.HorizontalFlip()]),
    "gray padding": A.Compose([A.Pad(4, fill=128), A.RandomCrop(32, 32)]),
    "colored padding": A.Compose([A.Pad(4, fill=(1, 2, 3)), A.RandomCrop(32, 32)]),
    "uneven padding": A.Compose([A.Pad((1, 5)), A.RandomCrop(32, 32)]),
    "mirrored padding": A.Compose([A.Pad(4, border_mode=cv2.BORDER_REFLECT_101), A.RandomCrop(32, 32)]),
    "padded up to the window": A.Compose([A.Pad(1), A.RandomCrop(40, 40, pad_if_needed=True)]),
}


def by_albumentations(transform):
    for image, seed in zip(IMAGES, SEEDS, strict=True):
        transform.set_random_state(np.random.default_rng(seed), random.Random(seed))
        yield transform(image=image)["image"].transpose(2, 0, 1)


@pytest.mark.parametrize("name", AT_ONCE | ONE_BY_ONE)
def test_every_byte_is_that_of_albumentations(name):
    transform = (AT_ONCE | ONE_BY_ONE)[name]
    expected = list(by_albumentations(transform))
    for ours, theirs in zip(augment_batch(transform, IMAGES, SEEDS), expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("name", AT_ONCE)
def test_usual_transforms_need_no_call_for_each_image(name, monkeypatch):
    def call(*_, **__):
        raise AssertionError("albumentations was called")

    monkeypatch.setattr(A.Compose, "__call__", call)
    assert len(augment_batch(AT_ONCE[name], IMAGES, SEEDS)) == NUM_IMAGES
    with pytest.raises(AssertionError, match="albumentations was called"):
        augment_batch(ONE_BY_ONE["gray padding"], IMAGES, SEEDS)


def test_an_image_does_not_depend_on_the_others():
    whole = augment_batch(CropFlip(), IMAGES, SEEDS)
    for place in (0, 17, NUM_IMAGES - 1):
        alone = augment_batch(CropFlip(), IMAGES[place : place + 1], SEEDS[place : place + 1])
        np.testing.assert_array_equal(alone[0], whole[place])


def test_a_window_larger_than_the_padded_images_has_the_error_of_albumentations():
    with pytest.raises(CropSizeError, match=r"\(48, 32\) vs \(40, 40\)"):
        augment_batch(CropFlip(48, 32), IMAGES, SEEDS)
