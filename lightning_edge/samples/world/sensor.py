"""The last steps to a recorded picture: drops in the air, the lens, exposure and noise."""

import cv2
import numpy as np

from lightning_edge.samples.world.domains import Domain

Array = np.ndarray
BLUR_PX = 0.55
BLOOM_FROM = 0.75
SPARE_PX = 61
"""How far the field of noise is larger than a frame, so that frames show different parts of it."""
WHITE_BALANCE = 0.03


class Sensor:
    """A camera's electronics, with a gain and white balance of its own.

    Args:
        domain: Light and weather conditions.
        height_px: Height of the image, in pixels.
        width_px: Width of the image, in pixels.
        rng: Random generator.
    """

    def __init__(self, domain: Domain, height_px: int, width_px: int, rng: np.random.Generator) -> None:
        self._domain, self._rng = domain, rng
        self._size = height_px, width_px
        balance = 1 + (WHITE_BALANCE if domain.read_noise else 0.0) * rng.uniform(-1, 1, 3)
        self._gain = (rng.uniform(*domain.exposure) * balance).astype(np.float32)
        self._noise = rng.standard_normal((3, height_px + SPARE_PX, width_px + SPARE_PX)).astype(np.float32)
        self._streaks = _streaks(rng, height_px, width_px) if domain.rain else None

    def record(self, picture: Array) -> Array:
        """Turn light, float32 ``[3, height, width]``, into uint8 ``[height, width, 3]``; changes its input."""
        domain = self._domain
        if self._streaks is not None:
            streaks = domain.rain * self._part(self._streaks, self._size)
            picture += streaks * (0.85 - picture)
        noise = self._part(self._noise, (SPARE_PX, SPARE_PX))
        planes = []
        for index, plane in enumerate(picture):
            if domain.bloom:
                plane += domain.bloom * _bloom(plane)
            plane *= self._gain[index]
            if domain.read_noise:
                plane = cv2.GaussianBlur(plane, (3, 3), BLUR_PX)
                grain = _positive(domain.shot_noise * plane)
                grain += np.float32(domain.read_noise**2)
                grain = cv2.sqrt(grain, grain)
                grain *= noise[index]
                plane += grain
            planes.append(cv2.convertScaleAbs(_positive(plane), alpha=255))
        return cv2.merge(planes)

    def _part(self, field: Array, spare: tuple[int, int]) -> Array:
        y, x = self._rng.integers(spare[0]), self._rng.integers(spare[1])
        return field[..., y : y + self._size[0], x : x + self._size[1]]


def _positive(plane: Array) -> Array:
    """Zero instead of negative values, three times as fast as ``np.maximum``."""
    return cv2.threshold(plane, 0, 0, cv2.THRESH_TOZERO)[1]


def _bloom(plane: Array) -> Array:
    """Light that strays in the lens around what is very bright."""
    bright = cv2.resize(np.maximum(plane - BLOOM_FROM, 0), None, fx=0.5, fy=0.5)
    return cv2.resize(cv2.GaussianBlur(bright, (9, 9), 2.2), plane.shape[::-1])


def _streaks(rng: np.random.Generator, height: int, width: int) -> Array:
    """Drops that fall during the exposure, on twice the size of a frame."""
    canvas = np.zeros((2 * height, 2 * width), np.float32)
    slant = rng.uniform(-0.15, 0.15)
    for _ in range(height * width // 45):
        x, y = rng.uniform(0, 2 * width), rng.uniform(0, 2 * height)
        length = height * rng.uniform(0.02, 0.09)
        end = (int(x + slant * length), int(y + length))
        cv2.line(canvas, (int(x), int(y)), end, float(rng.uniform(0.08, 0.30)), 1, cv2.LINE_AA)
    return canvas
