"""Augmentation of training samples: defaults for each kind of data, and the seeding of any transform."""

import random
from typing import Any

import albumentations as A
import cv2
import numpy as np

from lightning_edge.contracts import IGNORE_INDEX
from lightning_edge.data.images.letterbox import PADDING

Transform = A.BasicTransform | A.BaseCompose
"""A transform or a composition of albumentations. ``A.NoOp()`` is no augmentation."""


class StreetAugmentation(A.Compose):
    """Random scale, crop, flip and mild color changes, which are usual for street scenes.

    It follows mmsegmentation's Cityscapes schedule (scale 0.5 to 2, crop, flip, photometric distortion), but with a
    narrower range of scales. At scale 0.5 a crop of the size of the image would be three quarters padding. Padding is
    black, and ignored in masks.

    Args:
        height: Height of the crop, in pixels.
        width: Width of the crop, in pixels.
        scale: Smallest and largest scale factor.
        color: Largest relative change of brightness, contrast and saturation.
    """

    def __init__(self, height: int, width: int, scale: tuple[float, float] = (0.75, 1.5), color: float = 0.2) -> None:
        around_one = (1 - color, 1 + color)
        super().__init__(
            [
                # plain INTER_NEAREST would move the mask by up to half a pixel against the image
                A.RandomScale(
                    (scale[0] - 1, scale[1] - 1),
                    interpolation=cv2.INTER_LINEAR,
                    mask_interpolation=cv2.INTER_NEAREST_EXACT,
                    p=1.0,
                ),
                A.PadIfNeeded(height, width, fill=0, fill_mask=IGNORE_INDEX),
                A.RandomCrop(height, width),
                A.HorizontalFlip(p=0.5),
                A.ColorJitter(around_one, around_one, around_one, hue=(-0.02, 0.02), p=0.8),
            ]
        )


class CropFlip(A.Compose):
    """Pads with black, crops a random window and flips, as is usual for CIFAR (He et al., arXiv:1512.03385).

    Args:
        height: Height of the images, in pixels.
        width: Width of the images, in pixels.
        padding: Padding on each side, in pixels.
    """

    def __init__(self, height: int = 32, width: int = 32, padding: int = 4) -> None:
        super().__init__([A.Pad(padding, fill=0), A.RandomCrop(height, width), A.HorizontalFlip(p=0.5)])


class RandomShift(A.Compose):
    """Shifts by a few pixels and repeats the border, for objects whose class a flip would change.

    Args:
        height: Height of the images, in pixels.
        width: Width of the images, in pixels.
        shift_px: Largest shift along each axis, in pixels.
    """

    def __init__(self, height: int = 32, width: int = 32, shift_px: int = 2) -> None:
        super().__init__([A.Pad(shift_px, border_mode=cv2.BORDER_REPLICATE), A.RandomCrop(height, width)])


class DetectionAugmentation(A.Compose):
    """Random scale, position, flip and mild color changes, for images with boxes.

    The color jitter of 0.1 is that of the released code of arXiv:1911.13237 ("aug1"). That code also flips, and draws
    the size of an image from 0.6 to 1 of its largest size.

    Args:
        height: Height of the images, in pixels. It does not change.
        width: Width of the images, in pixels. It does not change.
        scale: Smallest and largest scale factor. A smaller image is padded with gray, a larger one is cropped.
        color: Largest relative change of brightness, contrast and saturation.
    """

    def __init__(self, height: int, width: int, scale: tuple[float, float] = (0.8, 1.25), color: float = 0.1) -> None:
        around_one = (1 - color, 1 + color)
        super().__init__(
            [
                A.RandomScale((scale[0] - 1, scale[1] - 1), interpolation=cv2.INTER_LINEAR, p=1.0),
                A.PadIfNeeded(height, width, position="random", fill=PADDING),
                A.RandomCrop(height, width),
                A.HorizontalFlip(p=0.5),
                A.ColorJitter(around_one, around_one, around_one, hue=(0, 0), p=0.8),
            ]
        )


def apply_seeded(transform: Transform, seed: int, **targets: Any) -> dict[str, Any]:
    """Apply a transform whose random numbers depend only on a seed.

    ``images=`` takes the frames of a clip, ``[time, height, width, 3]``, which are all changed in the same way.
    """
    # set_random_seed would give all parts of a composition the same numbers, so that flips and colors correlate
    transform.set_random_state(np.random.default_rng(seed), random.Random(seed))
    return transform(**targets)
