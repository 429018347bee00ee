"""Paints a scene into buffers: which surface each pixel shows, how far away it is, where on the surface it lies.

All surfaces are planes, so a 3x3 matrix takes the pixels of one to its (u, v), another to where they were in the
previous frame. Polygons are painted from far to near (painter's algorithm); everything else is computed from the
matrices, pixel by pixel and without approximation.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from lightning_edge.samples.world.camera import Camera, View
from lightning_edge.samples.world.labels import Label
from lightning_edge.samples.world.scene import Scene
from lightning_edge.samples.world.street import Pose

Array = np.ndarray
NEAR_M = 0.5
CLOUD_HEIGHT_M = 400.0
SUBPIXEL_BITS = 4
MARGIN_PX = 2
"""Painted around the frame and cut off, for OpenCV draws edges that leave a picture along its border."""
MIN_AREA_PX = 1.2
"""Polygons whose bounds, widened by 0.3 px, cover less are not painted."""
EXTRA_SURFACES = 2
"""Sky and own bonnet come after the surfaces of the scene."""


@dataclass
class Projection:
    """Where all surfaces are seen from one view.

    Attributes:
        pose: Poses of all bodies.
        homography: Matrix of each surface from (u, v, 1) to (column, row, 1) times depth: float64 ``[surfaces, 3, 3]``.
        faces_viewer: Whether each surface shows its front.
        normal: Unit normals that point to the side of the viewer: float64 ``[surfaces, 3]``.
        place: Origins of the surfaces in the world: float64 ``[surfaces, 3]``.
    """

    pose: Pose
    homography: Array
    faces_viewer: Array
    normal: Array
    place: Array


@dataclass
class Buffers:
    """One painted frame.

    Attributes:
        time_s: Time of the frame, in seconds.
        view: Pose of the camera.
        projection: Projection of all surfaces.
        surface: Surface of every pixel: int32 ``[height, width]``.
        visible: Surfaces that have at least one pixel.
        inverse: Matrix of each visible surface from (column, row, 1) to (u, v, 1) / depth; NaN for other surfaces.
        silhouettes: Number of pixels that each thing would have without occlusion, by body.
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
        self.texture_scale = np.concatenate([scene.texture_scale, [[1 / 900, 1 / 900], [0.01, 0.01]]])
        self.texture_offset = np.concatenate([scene.texture_offset, [[0, 0], [0, 0]]])
        self._limbs = np.flatnonzero(scene.is_limb)
        counts = np.diff(scene.polygon_start)
        self._polygon_body = scene.surface_body[scene.polygon_surface]
        self._corner_surface = np.repeat(scene.polygon_surface, counts)
        self._corner_u, self._corner_v = np.ascontiguousarray(scene.corners.T)
        # written anew for every frame; the views are made once, for making them takes as long as painting some
        self._fixed = np.empty((len(scene.corners), 2), np.int32)
        self._outlines = [[points] for points in np.split(self._fixed, scene.polygon_start[1:-1])]
        intrinsics = camera.intrinsics()
        row = intrinsics[1, 2] - intrinsics[0, 0] * np.tan(np.deg2rad(camera.pitch_deg))
        self._horizon_row = int(np.clip(np.floor(row) + 1, 0, camera.height_px))
        bodies = np.arange(len(scene.s0))
        self._first_surface = np.searchsorted(scene.surface_body, bodies).tolist()
        self._last_surface = (np.searchsorted(scene.surface_body, bodies, side="right") - 1).tolist()

    def view(self, time_s: float) -> View:
        """The camera on the ego vehicle."""
        s, d, turn = self.scene.ego.street_pose(time_s)
        pose = self.scene.street.to_world(s, d, turn)
        return self.camera.view(float(pose.x), float(pose.y), float(pose.heading))

    def project(self, time_s: float, view: View) -> Projection:
        """Homographies of all surfaces, sky and bonnet included."""
        scene = self.scene
        pose = scene.body_poses(time_s)
        origin, axis_u, axis_v = scene.surfaces_at(time_s, pose)
        away = origin - view.position
        limbs = self._limbs
        across = _cross(away[limbs], axis_v[limbs])
        axis_u[limbs] = across / (np.linalg.norm(across, axis=1, keepdims=True) + 1e-9)
        normal = _cross(axis_u, axis_v)
        shows_back = np.einsum("ij,ij->i", normal, away) > 0
        normal[shows_back] *= -1
        front = scene.is_limb | scene.is_two_sided | ~shows_back
        # surfaces last: one product instead of thousands
        planes = np.stack([axis_u.T, axis_v.T, away.T], axis=1)
        homography = np.empty((3, 3, len(away) + EXTRA_SURFACES))
        homography[..., : self.sky] = (view.projection @ planes.reshape(3, -1)).reshape(planes.shape)
        sky = np.array([[1.0, 0, -view.position[0]], [0, 1, -view.position[1]], [0, 0, CLOUD_HEIGHT_M]])
        homography[..., self.sky] = view.projection @ sky
        homography[..., self.hood] = np.eye(3)
        up = [(0.0, 0.0, -1.0), (0.0, 0.0, 1.0)]
        return Projection(
            pose,
            homography.transpose(2, 0, 1),
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
        silhouettes = self._paint_polygons(canvas, projection, self._order(projection.pose, view))
        self._paint_hood(canvas)
        surface = canvas[MARGIN_PX:-MARGIN_PX, MARGIN_PX:-MARGIN_PX].copy()
        is_visible = np.zeros(self.hood + 1, bool)
        is_visible[surface.ravel()] = True
        visible = np.flatnonzero(is_visible)
        inverse = np.full(projection.homography.shape, np.nan)
        inverse[visible] = np.linalg.inv(projection.homography[visible])
        return Buffers(time_s, view, projection, surface, visible, inverse, silhouettes)

    def horizon_row(self) -> int:
        """First row below the horizon."""
        return self._horizon_row

    def _order(self, pose: Pose, view: View) -> Array:
        """Rank of every body from far to near; long bodies count by their farther end."""
        scene = self.scene
        reach = np.where(scene.is_long, scene.footprint[:, 0], 0.0)
        along = np.stack([np.cos(pose.heading), np.sin(pose.heading)], axis=1) * reach[:, None]
        place = np.stack([pose.x, pose.y], axis=1) - view.position[:2]
        distance = np.maximum(np.linalg.norm(place - along, axis=1), np.linalg.norm(place + along, axis=1))
        rank = np.empty(len(distance), np.int64)
        rank[np.lexsort((-distance, scene.layer))] = np.arange(len(distance))
        return rank

    def _paint_polygons(self, canvas: Array, projection: Projection, rank: Array) -> dict[int, int]:
        scene = self.scene
        corners = self._project_corners(projection)
        start = scene.polygon_start[:-1]
        depth = corners[2]
        nearest, farthest = np.minimum.reduceat(depth, start), np.maximum.reduceat(depth, start)
        points = corners[:2] / np.maximum(depth, NEAR_M)
        low, high = np.minimum.reduceat(points, start, axis=1), np.maximum.reduceat(points, start, axis=1)
        size = np.array([[self.camera.width_px], [self.camera.height_px]])
        needs_clip = nearest < NEAR_M
        is_large = np.multiply(*(high - low + 0.3)) > MIN_AREA_PX
        inside = ((high > -0.5) & (low < size - 0.5)).all(axis=0) & is_large | needs_clip
        shown = np.flatnonzero(inside & (farthest > NEAR_M) & projection.faces_viewer[scene.polygon_surface])
        shown = shown[np.argsort(rank[self._polygon_body[shown]], kind="stable")]
        self._fixed.T[:] = _fixed_point(points)
        low[:, needs_clip], high[:, needs_clip] = 0, size
        windows = self._windows(low[:, shown], high[:, shown], shown)
        return self._fill(canvas, shown, needs_clip, corners, windows)

    def _project_corners(self, projection: Projection) -> Array:
        """Column, row and one, each times depth, of the corners of all polygons: float64 ``[3, corners]``."""
        corners = np.empty((3, len(self._corner_u)))
        for values, (a, b, c) in zip(corners, projection.homography.transpose(1, 2, 0), strict=True):
            np.multiply(np.take(a, self._corner_surface), self._corner_u, out=values)
            values += np.take(c, self._corner_surface)
            values += np.take(b, self._corner_surface) * self._corner_v
        return corners

    def _windows(self, low: Array, high: Array, shown: Array) -> list[tuple[slice, slice] | None]:
        """Rows and columns of the canvas that a thing reaches, at the position of its last polygon in ``shown``."""
        windows: list[tuple[slice, slice] | None] = [None] * len(shown)
        bodies = self._polygon_body[shown]
        last = np.flatnonzero(np.diff(bodies, append=-1))
        first = np.concatenate([[0], last[:-1] + 1]).astype(np.intp)
        size = np.array([[self.camera.width_px], [self.camera.height_px]])
        start = np.clip(np.floor(np.minimum.reduceat(low, first, axis=1)) - 1, 0, size).astype(int) + MARGIN_PX
        stop = np.clip(np.ceil(np.maximum.reduceat(high, first, axis=1)) + 2, 0, size).astype(int) + MARGIN_PX
        is_thing = self.scene.instance[bodies[last]] >= 0
        boxes = np.concatenate([last[None], start, stop])[:, is_thing].T.tolist()
        for index, x0, y0, x1, y1 in boxes:
            windows[index] = slice(y0, y1), slice(x0, x1)
        return windows

    def _fill(
        self,
        canvas: Array,
        shown: Array,
        needs_clip: Array,
        corners: Array,
        windows: list[tuple[slice, slice] | None],
    ) -> dict[int, int]:
        scene, outlines = self.scene, self._outlines
        silhouettes: dict[int, int] = {}
        owners, clips = scene.polygon_surface[shown].tolist(), needs_clip[shown].tolist()
        for polygon, owner, clip, window in zip(shown.tolist(), owners, clips, windows, strict=True):
            outline = outlines[polygon]
            if clip:
                begin, stop = scene.polygon_start[polygon : polygon + 2]
                outline = [_clipped(corners[:, begin:stop])]
            if len(outline[0]) > 2:
                cv2.fillPoly(canvas, outline, owner, cv2.LINE_8, SUBPIXEL_BITS)
            if window is not None:
                body = int(self._polygon_body[polygon])
                silhouettes[body] = self._count(canvas[window], body)
        return silhouettes

    def _count(self, window: Array, body: int) -> int:
        if not window.size:
            return 0
        return cv2.countNonZero(cv2.inRange(window, self._first_surface[body], self._last_surface[body]))

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


def _cross(a: Array, b: Array) -> Array:
    """Cross products of rows, faster than NumPy's."""
    (a0, a1, a2), (b0, b1, b2) = a.T, b.T
    return np.stack([a1 * b2 - a2 * b1, a2 * b0 - a0 * b2, a0 * b1 - a1 * b0], axis=1)


def _fixed_point(pixels: Array) -> Array:
    """Pixels of the frame as OpenCV's fixed-point pixels of the canvas."""
    return np.rint((pixels + MARGIN_PX) * (1 << SUBPIXEL_BITS)).astype(np.int32)


def _clipped(corners: Array) -> Array:
    """The part of a polygon ``[3, corners]`` before the near plane, on the canvas (Sutherland and Hodgman 1974)."""
    kept = []
    x0, y0, z0 = corners[:, -1].tolist()  # floats of Python: arrays of three would take five times as long
    for x1, y1, z1 in corners.T.tolist():
        if (z1 >= NEAR_M) != (z0 >= NEAR_M):
            part = (NEAR_M - z0) / (z1 - z0)
            kept.append((x0 + part * (x1 - x0), y0 + part * (y1 - y0), z0 + part * (z1 - z0)))
        if z1 >= NEAR_M:
            kept.append((x1, y1, z1))
        x0, y0, z0 = x1, y1, z1
    if not kept:
        return np.zeros((0, 2), np.int32)
    return np.array([(_fixed_number(x / z), _fixed_number(y / z)) for x, y, z in kept], np.int32)


def _fixed_number(pixels: float) -> int:
    """What ``_fixed_point`` does for arrays, near the frame."""
    return round((min(max(pixels, -20000.0), 20000.0) + MARGIN_PX) * (1 << SUBPIXEL_BITS))
