"""Paints a scene into buffers: which surface each pixel shows, how far away it is, where on the surface it lies.

All surfaces are planes, so a 3x3 matrix takes the pixels of one to its (u, v), another to where they were in the
previous frame. Polygons are painted from far to near (painter's algorithm); everything else is computed from the
matrices, pixel by pixel and without approximation.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from lightning_edge.samples.camera import Camera, View
from lightning_edge.samples.labels import Label
from lightning_edge.samples.scene import Scene

Array = np.ndarray
NEAR_M = 0.5
CLOUD_HEIGHT_M = 400.0
SUBPIXEL_BITS = 4
MARGIN_PX = 2
"""Painted around the frame and cut off: OpenCV draws edges that leave a picture along its border."""
MIN_AREA_PX = 1.2
"""Polygons whose bounds, widened by 0.3 px, cover less are not painted."""
EXTRA_SURFACES = 2
"""Sky and own bonnet come after the surfaces of the scene."""


@dataclass
class Projection:
    """Where all surfaces are seen from one view.

    Attributes:
        homography: Per surface, (u, v, 1) to (column, row, 1) times depth: float64 ``[surfaces, 3, 3]``.
        faces_viewer: Which surfaces show their front.
        normal: Unit normals that point to the side of the viewer: float64 ``[surfaces, 3]``.
        place: Origins of the surfaces in the world: float64 ``[surfaces, 3]``.
    """

    homography: Array
    faces_viewer: Array
    normal: Array
    place: Array


@dataclass
class Buffers:
    """One painted frame.

    Attributes:
        time_s: When.
        view: From where.
        projection: How.
        surface: Surface of every pixel: int32 ``[height, width]``.
        visible: Surfaces that have a pixel.
        inverse: Per surface, (column, row, 1) to (u, v, 1) / depth, for the visible ones; NaN elsewhere.
        silhouettes: Pixels that each thing would have if nothing hid it, by body.
    """

    time_s: float
    view: View
    projection: Projection
    surface: Array
    visible: Array
    inverse: Array
    silhouettes: dict[int, int]


class Renderer:
    """Paints frames of one scene as seen from the ego vehicle by one camera."""

    def __init__(self, scene: Scene, camera: Camera) -> None:
        self.scene, self.camera = scene, camera
        surfaces = len(scene.surface_body)
        self.sky, self.hood = surfaces, surfaces + 1
        self.surface_label = np.concatenate([scene.surface_label, [Label.SKY, Label.EGO_VEHICLE]]).astype(np.uint8)
        self.surface_instance = np.concatenate([scene.surface_instance, [Label.SKY, Label.EGO_VEHICLE]]).astype(
            np.int32
        )
        self.surface_body = np.concatenate([scene.surface_body, [-1, -2]])
        counts = np.diff(scene.polygon_start)
        self._polygon_body = scene.surface_body[scene.polygon_surface]
        self._corner_surface = np.repeat(scene.polygon_surface, counts)
        self._corner_uv1 = np.column_stack([scene.corners, np.ones(len(scene.corners))])
        bodies = np.arange(len(scene.s0))
        self._first_surface = np.searchsorted(scene.surface_body, bodies)
        self._last_surface = np.searchsorted(scene.surface_body, bodies, side="right") - 1

    def view(self, time_s: float) -> View:
        """The camera on the ego vehicle."""
        s, d, turn = self.scene.ego.street_pose(time_s)
        pose = self.scene.street.to_world(s, d, turn)
        return self.camera.view(float(pose.x), float(pose.y), float(pose.heading))

    def project(self, time_s: float, view: View) -> Projection:
        """Homographies of all surfaces, sky and bonnet included."""
        scene = self.scene
        origin, axis_u, axis_v = scene.surfaces_at(time_s)
        away = origin - view.position
        limbs = scene.is_limb
        across = np.cross(away[limbs], axis_v[limbs])
        axis_u[limbs] = across / (np.linalg.norm(across, axis=1, keepdims=True) + 1e-9)
        normal = np.cross(axis_u, axis_v)
        shows_back = np.einsum("ij,ij->i", normal, away) > 0
        normal[shows_back] *= -1
        front = scene.is_limb | scene.is_two_sided | ~shows_back
        planes = np.stack([axis_u, axis_v, away], axis=2)
        sky = np.array([[1.0, 0, -view.position[0]], [0, 1, -view.position[1]], [0, 0, CLOUD_HEIGHT_M]])
        fixed = np.diag([1.0, 1.0, 1.0])
        homography = np.concatenate([view.projection @ planes, [view.projection @ sky, fixed]])
        up = [(0.0, 0.0, -1.0), (0.0, 0.0, 1.0)]
        return Projection(
            homography,
            np.concatenate([front, [True, True]]),
            np.concatenate([normal, up]),
            np.concatenate([origin, up]),
        )

    def paint(self, time_s: float) -> Buffers:
        """Paint the frame of one moment."""
        view = self.view(time_s)
        projection = self.project(time_s, view)
        height, width = self.camera.height_px, self.camera.width_px
        canvas = np.full((height + 2 * MARGIN_PX, width + 2 * MARGIN_PX), self.sky, np.int32)
        canvas[self.horizon_row() + MARGIN_PX :] = 0
        silhouettes = self._paint_polygons(canvas, projection, self._order(time_s, view))
        self._paint_hood(canvas)
        surface = canvas[MARGIN_PX:-MARGIN_PX, MARGIN_PX:-MARGIN_PX].copy()
        visible = np.flatnonzero(np.bincount(surface.ravel(), minlength=self.hood + 1))
        inverse = np.full(projection.homography.shape, np.nan)
        inverse[visible] = np.linalg.inv(projection.homography[visible])
        return Buffers(time_s, view, projection, surface, visible, inverse, silhouettes)

    def horizon_row(self) -> int:
        """First row below the horizon."""
        intrinsics = self.camera.intrinsics()
        row = intrinsics[1, 2] - intrinsics[0, 0] * np.tan(np.deg2rad(self.camera.pitch_deg))
        return int(np.clip(np.floor(row) + 1, 0, self.camera.height_px))

    def _order(self, time_s: float, view: View) -> Array:
        """Rank of every body from far to near; long bodies count by their farther end."""
        scene = self.scene
        pose = scene.body_poses(time_s)
        reach = np.where(scene.is_long, scene.footprint[:, 0], 0.0)
        along = np.stack([np.cos(pose.heading), np.sin(pose.heading)], axis=1) * reach[:, None]
        place = np.stack([pose.x, pose.y], axis=1) - view.position[:2]
        distance = np.maximum(np.linalg.norm(place - along, axis=1), np.linalg.norm(place + along, axis=1))
        rank = np.empty(len(distance), np.int64)
        rank[np.lexsort((-distance, scene.layer))] = np.arange(len(distance))
        return rank

    def _paint_polygons(self, canvas: Array, projection: Projection, rank: Array) -> dict[int, int]:
        scene = self.scene
        seen = projection.homography[self._corner_surface]
        corners = np.einsum("nij,nj->ni", seen, self._corner_uv1)
        start = scene.polygon_start[:-1]
        depth = corners[:, 2]
        nearest, farthest = np.minimum.reduceat(depth, start), np.maximum.reduceat(depth, start)
        safe = np.maximum(depth, NEAR_M)
        points = corners[:, :2] / safe[:, None]
        low, high = np.minimum.reduceat(points, start), np.maximum.reduceat(points, start)
        size = np.array([self.camera.width_px, self.camera.height_px])
        needs_clip = nearest < NEAR_M
        is_large = (high - low + 0.3).prod(axis=1) > MIN_AREA_PX
        inside = ((high > -0.5) & (low < size - 0.5)).all(axis=1) & is_large | needs_clip
        shown = np.flatnonzero(inside & (farthest > NEAR_M) & projection.faces_viewer[scene.polygon_surface])
        shown = shown[np.argsort(rank[self._polygon_body[shown]], kind="stable")]
        fixed = _fixed_point(points)
        low[needs_clip], high[needs_clip] = 0, size
        return self._fill(canvas, shown, needs_clip, corners, fixed, self._windows(low[shown], high[shown], shown))

    def _windows(self, low: Array, high: Array, shown: Array) -> dict[int, tuple[slice, slice]]:
        """Rows and columns of the canvas that a body reaches, by the position of its last polygon in ``shown``."""
        bodies = self._polygon_body[shown]
        last = np.flatnonzero(np.diff(bodies, append=-1))
        first = np.concatenate([[0], last[:-1] + 1]).astype(np.intp)
        size = (self.camera.width_px, self.camera.height_px)
        start = np.clip(np.floor(np.minimum.reduceat(low, first)) - 1, 0, size).astype(int) + MARGIN_PX
        stop = np.clip(np.ceil(np.maximum.reduceat(high, first)) + 2, 0, size).astype(int) + MARGIN_PX
        boxes = zip(last.tolist(), start.tolist(), stop.tolist(), strict=True)
        return {index: (slice(y0, y1), slice(x0, x1)) for index, (x0, y0), (x1, y1) in boxes}

    def _fill(
        self,
        canvas: Array,
        shown: Array,
        needs_clip: Array,
        corners: Array,
        fixed: Array,
        windows: dict[int, tuple[slice, slice]],
    ) -> dict[int, int]:
        scene = self.scene
        silhouettes: dict[int, int] = {}
        begins, stops = scene.polygon_start[shown].tolist(), scene.polygon_start[shown + 1].tolist()
        owners, clips = scene.polygon_surface[shown].tolist(), needs_clip[shown].tolist()
        bodies = self._polygon_body[shown]
        counted = (scene.instance[bodies] >= 0).tolist()
        for index, (begin, stop, owner) in enumerate(zip(begins, stops, owners, strict=True)):
            points = _clipped(corners[begin:stop]) if clips[index] else fixed[begin:stop]
            if len(points) > 2:
                cv2.fillPoly(canvas, [points], owner, cv2.LINE_8, SUBPIXEL_BITS)
            if counted[index] and index in windows:
                body = int(bodies[index])
                silhouettes[body] = self._count(canvas[windows[index]], body)
        return silhouettes

    def _count(self, window: Array, body: int) -> int:
        if not window.size:
            return 0
        first, last = self._first_surface[body], self._last_surface[body]
        return int(np.count_nonzero((window >= first) & (window <= last)))

    def _paint_hood(self, canvas: Array) -> None:
        if not self.camera.hood_share:
            return
        height, width = self.camera.height_px, self.camera.width_px
        angle = np.linspace(np.pi, 2 * np.pi, 24)
        rise = self.camera.hood_share * height
        arch = np.stack(
            [width / 2 * (1 + 1.25 * np.cos(angle)), height + 0.35 * rise + 1.35 * rise * np.sin(angle)], axis=1
        )
        cv2.fillPoly(canvas, [_fixed_point(arch)], self.hood, cv2.LINE_8, SUBPIXEL_BITS)


def _fixed_point(pixels: Array) -> Array:
    """Pixels of the frame as OpenCV's fixed-point pixels of the canvas."""
    return np.rint((pixels + MARGIN_PX) * (1 << SUBPIXEL_BITS)).astype(np.int32)


def _clipped(corners: Array) -> Array:
    """The part of a polygon before the near plane, on the canvas (Sutherland and Hodgman 1974)."""
    kept = []
    previous = corners[-1]
    for corner in corners:
        if (corner[2] >= NEAR_M) != (previous[2] >= NEAR_M):
            part = (NEAR_M - previous[2]) / (corner[2] - previous[2])
            kept.append(previous + part * (corner - previous))
        if corner[2] >= NEAR_M:
            kept.append(corner)
        previous = corner
    if not kept:
        return np.zeros((0, 2), np.int32)
    points = np.array(kept)
    return _fixed_point(np.clip(points[:, :2] / points[:, 2:], -20000, 20000))
