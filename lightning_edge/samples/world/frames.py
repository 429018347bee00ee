"""One call from a seed to frames with everything that is known about them."""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from lightning_edge.checks import check_whole_at_least
from lightning_edge.samples.world.appearance import Appearance
from lightning_edge.samples.world.camera import Camera, cityscapes_camera
from lightning_edge.samples.world.district import CITY, District
from lightning_edge.samples.world.domains import domain_named
from lightning_edge.samples.world.flow import occlusion, solve_geometry
from lightning_edge.samples.world.labels import THINGS
from lightning_edge.samples.world.renderer import Buffers, Renderer
from lightning_edge.samples.world.town import build_town, ego_motion

WORLD_VERSION = 1
"""Changes whenever any frame of any seed changes."""
CITYSCAPES_RATE_HZ = 17.0
"""Frame rate of the data set (Cordts et al., CVPR 2016, section 2.1)."""
MIN_SIZE_PX = 32
TEST_SEED = 1
"""Seed of sample data for testing, where a data set has no public labels for that split."""
STANDSTILL_M_PER_S = 0.1
"""Speed below which a vehicle stands."""


@dataclass(frozen=True)
class Box:
    """An object in a frame.

    Attributes:
        box_xyxy: Box around the visible pixels, by pixel edges. A full frame is (0, 0, width, height).
        label: Cityscapes ``labelId``.
        instance_id: Value in the instance map.
        visible_fraction: Number of visible pixels, divided by that inside the frame without occlusion.
    """

    box_xyxy: tuple[int, int, int, int]
    label: int
    instance_id: int
    visible_fraction: float


@dataclass(frozen=True)
class Frame:
    """A picture and the truth about it.

    Attributes:
        time_s: Time since the start of the snippet, in seconds.
        image: RGB image, uint8 ``[height, width, 3]``.
        mask: Cityscapes ``labelIds``, uint8 ``[height, width]``.
        instance: Cityscapes instance ids (class * 1000 + number for things, else the class), int32 ``[height, width]``.
        boxes: Every thing with at least one visible pixel.
        flow_to_previous: Flow in pixels, float32 ``[height, width, 2]``. A point at (x, y) was at (x + flow[..., 0], y
            + flow[..., 1]) in the previous frame.
        occluded: Whether the point was not visible in the previous frame, bool ``[height, width]``.
        depth_m: Depth along the optical axis in meters, float32 ``[height, width]``; infinite in the sky.
    """

    time_s: float
    image: np.ndarray
    mask: np.ndarray
    instance: np.ndarray
    boxes: tuple[Box, ...]
    flow_to_previous: np.ndarray
    occluded: np.ndarray
    depth_m: np.ndarray


def render_snippet(
    world_seed: int,
    num_frames: int,
    frame_rate_hz: float = CITYSCAPES_RATE_HZ,
    height: int = 128,
    width: int = 256,
    domain: str = "day",
    camera: Camera | None = None,
    district: District = CITY,
) -> Iterator[Frame]:
    """Drive through a world and yield what the camera sees.

    Args:
        world_seed: Seed of all random numbers. The domain does not change the geometry.
        num_frames: Number of frames.
        frame_rate_hz: Frames per second.
        height: Height of the frames, in pixels.
        width: Width of the frames, in pixels.
        domain: Name of the light and weather conditions, one of ``lightning_edge.samples.world.domains.DOMAINS``.
        camera: Camera to use instead of that of the Cityscapes car. It has its own size.
        district: Kind of town.

    Raises:
        ValueError: An argument is out of range.
    """
    look = domain_named(domain)
    check_whole_at_least(1, num_frames=num_frames)
    check_whole_at_least(MIN_SIZE_PX, height=height, width=width)
    _check_rate(frame_rate_hz)
    renderer = Renderer(
        build_town(world_seed, num_frames / frame_rate_hz, district), camera or cityscapes_camera(height, width)
    )
    return _frames(renderer, Appearance(renderer, look, world_seed), num_frames, frame_rate_hz)


def standing_share(
    world_seed: int, num_frames: int, frame_rate_hz: float = CITYSCAPES_RATE_HZ, district: District = CITY
) -> float:
    """Share of a snippet's frames, in [0, 1], on which the vehicle stands; no frame is rendered for it."""
    check_whole_at_least(1, num_frames=num_frames)
    _check_rate(frame_rate_hz)
    ego = ego_motion(world_seed, num_frames / frame_rate_hz, district)
    return (
        sum(ego.speed_m_per_s(index / frame_rate_hz) < STANDSTILL_M_PER_S for index in range(num_frames)) / num_frames
    )


def _check_rate(frame_rate_hz: float) -> None:
    if not frame_rate_hz > 0:
        raise ValueError(f"expected frame_rate_hz above 0, got {frame_rate_hz}")


def _frames(renderer: Renderer, appearance: Appearance, num_frames: int, frame_rate_hz: float) -> Iterator[Frame]:
    previous = renderer.paint(-1 / frame_rate_hz)
    for index in range(num_frames):
        now = renderer.paint(index / frame_rate_hz)
        yield make_frame(renderer, appearance, now, previous)
        previous = now


def make_frame(renderer: Renderer, appearance: Appearance, now: Buffers, previous: Buffers) -> Frame:
    """Derive all that a frame holds from two painted frames."""
    geometry = solve_geometry(renderer, now, previous.projection)
    height, width = now.surface.shape
    columns, rows = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)[:, None]
    flow = cv2.merge([geometry.column - columns, geometry.row - rows])
    instance = np.take(renderer.surface_instance[geometry.visible], geometry.index)
    depth = 1 / np.abs(geometry.inverse_depth)
    depth[now.surface == renderer.sky] = np.inf
    return Frame(
        time_s=now.time_s,
        image=appearance.draw(now, geometry),
        mask=np.take(renderer.surface_label[geometry.visible], geometry.index),
        instance=instance,
        boxes=_boxes(renderer, now, instance),
        flow_to_previous=flow,
        occluded=occlusion(renderer, geometry, now, previous),
        depth_m=depth,
    )


def _boxes(renderer: Renderer, now: Buffers, instance: np.ndarray) -> tuple[Box, ...]:
    pixels = np.flatnonzero(instance >= 1000 * min(THINGS))
    if not len(pixels):
        return ()
    ids = instance.ravel()[pixels].astype(np.uint16)  # sorted ten times faster than int32
    order = np.argsort(ids, kind="stable")
    pixels, ids = pixels[order], ids[order].astype(np.int32)
    first = np.flatnonzero(np.diff(ids, prepend=-1))
    rows, columns = np.divmod(pixels, instance.shape[1])
    areas = np.diff(first, append=len(ids))
    sides = (np.minimum.reduceat(columns, first), np.minimum.reduceat(rows, first),
             np.maximum.reduceat(columns, first) + 1, np.maximum.reduceat(rows, first) + 1)  # fmt: skip
    bodies = renderer.surface_body[now.surface.ravel()[pixels[first]]]
    boxes = []
    for *box, area, body, number in np.stack([*sides, areas, bodies, ids[first]], axis=1).tolist():
        fraction = min(1.0, area / max(now.silhouettes[body], 1))
        boxes.append(Box((box[0], box[1], box[2], box[3]), number // 1000, number, fraction))
    return tuple(boxes)
