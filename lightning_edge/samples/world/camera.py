"""Pinhole cameras."""

from dataclasses import dataclass

import numpy as np

Array = np.ndarray


@dataclass(frozen=True)
class Camera:
    """A pinhole camera on the ego vehicle; square pixels, the optical axis through the middle unless shifted.

    Attributes:
        height_px: Height of the image, in pixels.
        width_px: Width of the image, in pixels.
        fov_deg: Horizontal field of view, in degrees.
        mount_height_m: Height above the road, in meters.
        pitch_deg: Downward pitch, in degrees.
        axis_row: Row of the optical axis as a fraction of the height.
        hood_share: Share of the rows at the bottom that the ego vehicle's hood hides.
    """

    height_px: int
    width_px: int
    fov_deg: float
    mount_height_m: float
    pitch_deg: float
    axis_row: float = 0.5
    hood_share: float = 0.0

    def intrinsics(self) -> Array:
        """Matrix from camera coordinates (right, down, forward) to pixels times depth."""
        focal = self.width_px / 2 / np.tan(np.deg2rad(self.fov_deg) / 2)
        middle = (self.width_px - 1) / 2, self.axis_row * self.height_px - 0.5
        return np.array([[focal, 0, middle[0]], [0, focal, middle[1]], [0, 0, 1.0]])

    def view(self, x: float, y: float, heading: float) -> "View":
        """The camera at a place in the world."""
        pitch = np.deg2rad(self.pitch_deg)
        cos, sin = np.cos(heading), np.sin(heading)
        forward = np.array([np.cos(pitch) * cos, np.cos(pitch) * sin, -np.sin(pitch)])
        right = np.array([sin, -cos, 0.0])
        rotation = np.stack([right, np.cross(forward, right), forward])
        return View(np.array([x, y, self.mount_height_m]), self.intrinsics() @ rotation)


@dataclass(frozen=True)
class View:
    """A placed camera: ``projection @ (point - position)`` is (column, row, 1) times depth."""

    position: Array
    projection: Array


def cityscapes_camera(height_px: int, width_px: int) -> Camera:
    """The Cityscapes car.

    Source: the calibration files of the data set (``camera/*.json``): fx = 2262.52 px at 2048 px width, which is
    48.7 degrees, and v0 = 513 of 1024 rows, as public code quotes them. The mount of 1.22 m and the pitch of 0.038 rad
    are remembered from the same files. The bonnet covers about the last tenth of the image.
    """
    return Camera(height_px, width_px, fov_deg=48.7, mount_height_m=1.22, pitch_deg=2.18, hood_share=0.09)


def camvid_camera(height_px: int, width_px: int) -> Camera:
    """The CamVid car: a camcorder on the dashboard, without a hood in the image. Its field of view is an estimate."""
    return Camera(height_px, width_px, fov_deg=52.0, mount_height_m=1.4, pitch_deg=0.0)


def bdd100k_camera(height_px: int, width_px: int) -> Camera:
    """A phone behind a windshield, as in BDD100K: level and without a hood. All values are estimates."""
    return Camera(height_px, width_px, fov_deg=60.0, mount_height_m=1.3, pitch_deg=0.0)
