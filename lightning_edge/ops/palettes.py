"""Default colors for classes without a palette."""

from collections.abc import Sequence
from functools import lru_cache
from itertools import product

import cv2
import numpy as np

Palette = Sequence[tuple[int, int, int]]
"""One RGB color for each class, 0 to 255."""

_LEVELS = range(0, 256, 17)
_LEAST_BRIGHTNESS = 204
"""Smallest value of the brightest channel, so that no color is near the black of ignored pixels."""


@lru_cache
def default_palette(num_classes: int) -> Palette:
    """Bright colors that are easy to distinguish.

    Each color is the one farthest in CIELAB from black, white and all colors before it, so class 3 has the same color
    whatever the number of classes. Source: Glasbey et al., *Color displays for categorical images*, Color Research and
    Application 32, 2007.
    """
    bright = [color for color in product(_LEVELS, _LEVELS, _LEVELS) if max(color) >= _LEAST_BRIGHTNESS]
    candidates = _cielab(bright)
    distance = np.linalg.norm(candidates[:, None] - _cielab([(0, 0, 0), (255, 255, 255)]), axis=-1).min(1)
    chosen = []
    for _ in range(num_classes):
        farthest = int(distance.argmax())
        chosen.append(bright[farthest])
        distance = np.minimum(distance, np.linalg.norm(candidates - candidates[farthest], axis=-1))
    return tuple(chosen)


def _cielab(colors: Palette) -> np.ndarray:
    return cv2.cvtColor(np.array([colors], np.float32) / 255, cv2.COLOR_RGB2LAB)[0]
