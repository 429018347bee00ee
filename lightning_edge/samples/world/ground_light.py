"""Shadows and pools of lamp light: polygons on the ground that change its brightness, not its class."""

import cv2
import numpy as np

from lightning_edge.samples.world.camera import View
from lightning_edge.samples.world.renderer import NEAR_M, SUBPIXEL_BITS, Buffers, Renderer

Array = np.ndarray
CIRCLE = np.stack([np.cos(np.arange(12) * np.pi / 6), np.sin(np.arange(12) * np.pi / 6)], axis=1)


def shadow_mask(renderer: Renderer, now: Buffers, sun: Array, strength: float, contact: float) -> Array:
    """Factor on the light of the ground, ``1 - strength`` in the sun's shadows: float32 ``[height, width]``."""
    mask = np.full(now.surface.shape, 255, np.uint8)
    scene = renderer.scene
    pose = now.projection.pose
    place = np.stack([pose.x, pose.y], axis=1)
    near = (np.linalg.norm(place - now.view.position[:2], axis=1) < 70) & (scene.layer > 0)
    bodies = np.flatnonzero(near)
    base = _rectangles(scene.footprint[bodies], pose.heading[bodies]) + place[bodies, None]
    if strength:
        reach = -sun[:2] / sun[2]
        low, high = scene.footprint[bodies, 2:].T
        moved = np.concatenate(
            [base + (low[:, None] * reach)[:, None], base + (high[:, None] * reach)[:, None]], axis=1
        )
        _fill_hulls(mask, moved, now.view, int(255 * (1 - strength)))
    touching = scene.footprint[bodies, 2] < 0.5
    _fill_hulls(mask, base[touching], now.view, int(255 * (1 - contact)))
    return cv2.GaussianBlur(mask, (5, 5), 0) * np.float32(1 / 255)


def lamp_pools(renderer: Renderer, now: Buffers) -> Array:
    """Light of street lamps on the ground, 0 to 1: float32 ``[height, width]``."""
    mask = np.zeros(now.surface.shape, np.uint8)
    lamps = renderer.scene.lamps[:, :2]
    lamps = lamps[np.linalg.norm(lamps - now.view.position[:2], axis=1) < 90]
    for radius, level in ((8.0, 60), (5.5, 130), (3.0, 220)):
        _fill_hulls(mask, lamps[:, None] + CIRCLE * radius, now.view, level)
    return cv2.GaussianBlur(mask, (9, 9), 0) * np.float32(1 / 255)


def _rectangles(footprint: Array, heading: Array) -> Array:
    half_length, half_width = footprint[:, 0], footprint[:, 1]
    along = np.stack([np.cos(heading), np.sin(heading)], axis=1) * half_length[:, None]
    across = np.stack([-np.sin(heading), np.cos(heading)], axis=1) * half_width[:, None]
    return np.stack([along + across, along - across, -along - across, -along + across], axis=1)


def _fill_hulls(mask: Array, polygons: Array, view: View, value: int) -> None:
    """Paint what points on the ground ``[polygons, corners, 2]`` span; those behind the camera are moved ahead."""
    if not len(polygons):
        return
    height, width = mask.shape
    spatial = np.concatenate([polygons, np.zeros((*polygons.shape[:2], 1))], axis=2) - view.position
    projected = spatial @ view.projection.T
    depth = projected[..., 2]
    pixels = projected[..., :2] / np.maximum(depth, NEAR_M)[..., None]
    fixed = np.rint(np.clip(pixels, -8000, 8000) * (1 << SUBPIXEL_BITS)).astype(np.int32)
    low, high = pixels.min(axis=1), pixels.max(axis=1)
    reaches_frame = ((high > -2) & (low < (width + 1, height + 1))).all(axis=1) & (depth.max(axis=1) > NEAR_M)
    for corners in fixed[reaches_frame]:
        cv2.fillConvexPoly(mask, cv2.convexHull(corners), value, cv2.LINE_8, SUBPIXEL_BITS)
