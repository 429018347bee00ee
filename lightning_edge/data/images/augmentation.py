"""Random changes to training samples: the defaults for each kind of images, and how any of them is seeded."""

import random
from typing import Any

import albumentations as A
import cv2
import numpy as np

from lightning_edge.contracts import IGNORE_INDEX
from lightning_edge.data.images.letterbox import PADDING

Transform = A.BasicTransform | A.BaseCompose
"""One transform of albumentations or a composition; ``A.NoOp()`` is none at all."""


class StreetAugmentation(A.Compose):
    """Random scale, crop, flip and mild color, the usual set for street scenes.

    Follows mmsegmentation's Cityscapes schedule (scale 0.5 to 2, crop, flip, photometric distortion) with a narrower
    range of scales, for a crop of the size of the image would be three quarters padding at scale 0.5. Padding is black
    and ignored in masks.

    Args:
        height: Of the crop, pixels.
        width: Of the crop, pixels.
        scale: Least and greatest factor of size.
        colour: Greatest relative change of brightness, contrast and saturation.
    """

    def __init__(self, height: int, width: int, scale: tuple[float, float] = (0.75, 1.5), colour: float = 0.2) -> None:
        around_one = (1 - colour, 1 + colour)
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
    """Pad by black, crop a random window of the old size, flip: the usual set for CIFAR (He et al., arXiv:1512.03385).

    Args:
        height: Of the images, pixels.
        width: Of the images, pixels.
        padding: On each side, pixels.
    """

    def __init__(self, height: int = 32, width: int = 32, padding: int = 4) -> None:
        super().__init__([A.Pad(padding, fill=0), A.RandomCrop(height, width), A.HorizontalFlip(p=0.5)])


class RandomShift(A.Compose):
    """Move by a few pixels; what comes into view repeats the border. For things that a flip would make others of.

    Args:
        height: Of the images, pixels.
        width: Of the images, pixels.
        shift_px: At most so far along each axis.
    """

    def __init__(self, height: int = 32, width: int = 32, shift_px: int = 2) -> None:
        super().__init__([A.Pad(shift_px, border_mode=cv2.BORDER_REPLICATE), A.RandomCrop(height, width)])


class DetectionAugmentation(A.Compose):
    """Random scale, place, flip and mild color, for images with boxes.

    The jitter of 0.1 is that of the released code of arXiv:1911.13237 ("aug1"), which also flips, and draws the size of
    a picture from 0.6 to 1 of its greatest.

    Args:
        height: Of the images, pixels; they keep it.
        width: Of the images, pixels; they keep it.
        scale: Least and greatest factor of size; a smaller picture is padded by gray, of a larger one a part is shown.
        colour: Greatest relative change of brightness, contrast and saturation.
    """

    def __init__(self, height: int, width: int, scale: tuple[float, float] = (0.8, 1.25), colour: float = 0.1) -> None:
        around_one = (1 - colour, 1 + colour)
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
    """Apply a transform with random numbers that follow from a seed alone.

    ``images=`` takes the frames of a clip, ``[time, height, width, 3]``, which all change alike.
    """
    # set_random_seed would give each part of a composition the same numbers: whatever is flipped is also darkened
    transform.set_random_state(np.random.default_rng(seed), random.Random(seed))
    return transform(**targets)
