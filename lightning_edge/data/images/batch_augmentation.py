"""Augmentation of a batch of images with one seed for each image: random windows and flips as array operations.

For a small image the overhead of albumentations takes more time than the crop itself. So padding, cropping and flipping
are applied here to all images of a batch at once. This covers ``CropFlip`` and ``RandomShift`` of
:mod:`~lightning_edge.data.images.augmentation`. The random numbers are those that albumentations draws, and the results
are identical to its results. Other transforms are applied to one image after another.
"""

import random
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import albumentations as A
import cv2
import numpy as np
from jaxtyping import Float64, Num, UInt8
from numpy.lib.stride_tricks import sliding_window_view

from lightning_edge.data.images.augmentation import CropFlip, RandomShift, Transform, apply_seeded

_COMPOSITIONS = (A.Compose, CropFlip, RandomShift)  # a subclass may do more
_PAD_MODES: dict[int, Literal["constant", "edge"]] = {cv2.BORDER_CONSTANT: "constant", cv2.BORDER_REPLICATE: "edge"}
_STEPS = ([A.Pad, A.RandomCrop], [A.Pad, A.RandomCrop, A.HorizontalFlip])


def augment_batch(
    transform: Transform, images: UInt8[np.ndarray, "batch height width 3"], seeds: Sequence[int]
) -> list[Num[np.ndarray, "channels _ _"]]:
    """Augment each image as ``apply_seeded`` does with the seed of that image.

    Returns:
        The images with channels first, ``[channels, height, width]``.
    """
    window = _window_of(transform, *images.shape[1:3])
    if window is not None:
        return list(window.cut(images, seeds))
    changed = (apply_seeded(transform, seed, image=image)["image"] for image, seed in zip(images, seeds, strict=True))
    return [np.ascontiguousarray(image.transpose(2, 0, 1)) for image in changed]


class _RandomWindow(NamedTuple):
    height: int
    width: int
    padding: int
    pad_mode: Literal["constant", "edge"]
    flip_probability: float

    def cut(
        self, images: UInt8[np.ndarray, "batch height width 3"], seeds: Sequence[int]
    ) -> UInt8[np.ndarray, "batch 3 new_height new_width"]:
        margin = (self.padding, self.padding)
        padded = np.pad(images, ((0, 0), margin, margin, (0, 0)), self.pad_mode)
        windows = sliding_window_view(padded, (self.height, self.width), axis=(1, 2))  # pyright: ignore[reportCallIssue, reportArgumentType]
        num_tops, num_lefts = windows.shape[1:3]
        # a composition draws its first number to decide whether it is applied at all
        _, top, left, flip = _draw(seeds, 4).T
        cut = windows[np.arange(len(images)), (top * num_tops).astype(int), (left * num_lefts).astype(int)]
        cut = np.ascontiguousarray(cut)  # flipping is several times slower in the memory layout that numpy chose
        is_flipped = flip < self.flip_probability
        cut[is_flipped] = cut[is_flipped][..., ::-1]
        return cut


def _window_of(transform: Any, height: int, width: int) -> _RandomWindow | None:
    """The random window that a transform crops from images of this size; ``None`` for any other transform."""
    if type(transform) not in _COMPOSITIONS or [type(step) for step in transform.transforms] not in _STEPS:
        return None
    pad, crop, *flip = transform.transforms
    pad_mode = _PAD_MODES.get(pad.border_mode)
    is_certain = transform.p == pad.p == crop.p == 1
    if not is_certain or pad_mode is None or pad.fill != 0 or not isinstance(pad.padding, int):
        return None
    if crop.height > height + 2 * pad.padding or crop.width > width + 2 * pad.padding:
        return None  # albumentations raises the error
    return _RandomWindow(crop.height, crop.width, pad.padding, pad_mode, flip[0].p if flip else 0.0)


def _draw(seeds: Sequence[int], count: int) -> Float64[np.ndarray, "batch count"]:
    """The first numbers within [0, 1) of Python's random generator for each seed."""
    generator = random.Random()
    numbers = []
    for seed in seeds:
        generator.seed(seed)
        numbers.append([generator.random() for _ in range(count)])
    return np.array(numbers)
