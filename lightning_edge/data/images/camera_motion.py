"""Clips from single labeled images, for training video methods without video data."""

from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from lightning_edge.checks import check_at_least
from lightning_edge.contracts import IGNORE_INDEX
from lightning_edge.data.images.files import IdMask, RgbImage

Clip = UInt8[np.ndarray, "time height width 3"]
Affine = Float[np.ndarray, "2 3"]
_STREAM = 1


class RandomCameraMotion:
    """Turns a labeled image into a clip as a moving camera could record it.

    The camera moves forward, pans and rolls. The speeds are drawn once for each clip, so the motion is smooth. The
    oldest frame shows the whole image, the last one a part of it with the label of that part. Beyond the border the
    image is mirrored, and the mask is ignored there. The scene is flat and static: unlike real clips, it has neither
    moving objects nor parallax. Random affine motion of single images as training data for video follows Oh et al. 2019
    (STM, arXiv:1904.00607).

    The defaults move a pixel by about a hundredth of the width per frame, as in the generated drives at 17 Hz.

    Args:
        max_zoom: Largest growth of the image per frame (0.04 is 4 %).
        pan: Standard deviation of the sideways motion per frame, relative to width and height.
        roll_deg: Standard deviation of the rotation per frame, in degrees.
    """

    def __init__(self, max_zoom: float = 0.04, pan: float = 0.005, roll_deg: float = 0.2) -> None:
        check_at_least(0, max_zoom=max_zoom, pan=pan, roll_deg=roll_deg)
        self.max_zoom = max_zoom
        self.pan = pan
        self.roll_deg = roll_deg

    def __call__(self, image: RgbImage, mask: IdMask, num_frames: int, seed: int) -> tuple[Clip, IdMask]:
        """Frames of a clip, oldest first, and the mask of the last one."""
        # a separate stream, so that the motion is independent of an augmentation with the same seed
        motion = self._draw(np.random.default_rng((seed, _STREAM)), *mask.shape)
        views = [motion.view(index) for index in range(num_frames)]
        frames = [_look(image, view, cv2.INTER_LINEAR, cv2.BORDER_REFLECT_101) for view in views]
        return np.stack(frames), _look(mask, views[-1], cv2.INTER_NEAREST, cv2.BORDER_CONSTANT)

    def _draw(self, rng: np.random.Generator, height: int, width: int) -> "_Motion":
        ahead = rng.normal((width / 2, height / 2), (width / 10, height / 10))
        pan = rng.normal(0, self.pan, 2) * (width, height)
        return _Motion(ahead, rng.uniform(0, self.max_zoom), pan, rng.normal(0, self.roll_deg))


class _Motion(NamedTuple):
    """Motion of a camera: the point that it moves towards, and the motion per frame."""

    ahead_px: np.ndarray
    zoom: float
    pan_px: np.ndarray
    roll_deg: float

    def view(self, index: int) -> Affine:
        """Affine map from positions in frame ``index`` to positions in the original image."""
        angle, scale = np.deg2rad(index * self.roll_deg), (1 + self.zoom) ** -index
        linear = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        shift = self.ahead_px - linear @ self.ahead_px + index * self.pan_px
        return np.column_stack((linear, shift))


def _look(still: np.ndarray, view: Affine, interpolation: int, border: int) -> np.ndarray:
    height, width = still.shape[:2]
    flags = interpolation | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(still, view, (width, height), flags=flags, borderMode=border, borderValue=IGNORE_INDEX)
