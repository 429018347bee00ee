"""Exact motion: where every visible point of a surface was in the previous frame, and whether it was seen there."""

from dataclasses import dataclass

import numpy as np

from lightning_edge.samples.world.renderer import Buffers, Projection, Renderer

Array = np.ndarray


@dataclass
class Geometry:
    """Per-pixel geometry of a painted frame; all arrays are ``[height, width]``, float32.

    Attributes:
        visible: Surfaces that occur in the frame.
        index: Index of each pixel's surface in ``visible``.
        u: Texture coordinate, in repetitions.
        v: Texture coordinate, in repetitions.
        inverse_depth: 1 / meters along the optical axis.
        column: Column of the point in the previous frame, in pixels.
        row: Row of the point in the previous frame, in pixels.
        previous_inverse_depth: Inverse depth of the point in the previous frame.
        density: Repetitions of the texture (area) per pixel at unit depth, for each visible surface.
    """

    visible: Array
    index: Array
    u: Array
    v: Array
    inverse_depth: Array
    column: Array
    row: Array
    previous_inverse_depth: Array
    density: Array


def solve_geometry(renderer: Renderer, now: Buffers, previous: Projection) -> Geometry:
    """Invert the homographies of the visible surfaces and evaluate them for all pixels."""
    surface = now.surface
    visible, inverse = now.visible, now.inverse[now.visible]
    lookup = np.zeros(renderer.hood + 1, np.intp)
    lookup[visible] = np.arange(len(visible))
    index = np.take(lookup, surface)
    homography, before = now.projection.homography[visible], previous.homography[visible]
    motion = before @ inverse
    still = (homography == before).all(axis=(1, 2))
    motion[still] = np.eye(3)
    height, width = surface.shape
    columns = np.arange(width, dtype=np.float32)[None]
    rows = np.arange(height, dtype=np.float32)[:, None]

    def evaluate(coefficients: Array) -> Array:
        a, b, c = coefficients.T.astype(np.float32)
        values, of_row = np.take(a, index), np.take(b, index)
        values *= columns
        of_row *= rows
        values += of_row
        values += np.take(c, index)
        return values

    scaled_u, scaled_v = (evaluate(values) for values in _texture_rows(renderer, visible, inverse))
    inverse_depth = evaluate(inverse[:, 2])
    inverse_depth[np.abs(inverse_depth) < 1e-9] = 1e-9
    x, y, depth_ratio = (evaluate(motion[:, i]) for i in range(3))
    ratio = 1 / depth_ratio
    return Geometry(
        visible, index, scaled_u / inverse_depth, scaled_v / inverse_depth, inverse_depth, x * ratio, y * ratio,
        inverse_depth * ratio, _density(renderer, visible, inverse),
    )  # fmt: skip


def _density(renderer: Renderer, visible: Array, inverse: Array) -> Array:
    scale = np.concatenate([renderer.scene.texture_scale.prod(axis=1), [1e-6, 1e-4]])[visible]
    return np.maximum(np.abs(np.linalg.det(inverse)) * scale, 1e-30)


def _texture_rows(renderer: Renderer, visible: Array, inverse: Array) -> tuple[Array, Array]:
    """Rows of the inverse homographies in units of texture repetitions."""
    scale, offset = renderer.texture_scale[visible], renderer.texture_offset[visible]
    rows = inverse[:, :2] * scale[:, :, None] + offset[:, :, None] * inverse[:, 2:]
    return rows[:, 0], rows[:, 1]


def occlusion(renderer: Renderer, geometry: Geometry, now: Buffers, previous: Buffers) -> Array:
    """Points that the previous frame does not show: bool ``[height, width]``.

    A point was seen if one of the four pixels around its place shows the same surface, or another surface of the same
    body at the same depth (within 3 %).
    """
    height, width = now.surface.shape
    column, row = geometry.column, geometry.row
    outside = (column < -0.5) | (column > width - 0.5) | (row < -0.5) | (row > height - 0.5)
    outside |= geometry.previous_inverse_depth * np.sign(geometry.inverse_depth) <= 0
    nearest = _clamped(np.rint(row), height) * width + _clamped(np.rint(column), width)
    same = np.take(previous.surface, nearest) == now.surface
    doubtful = np.flatnonzero(~same & ~outside)
    hidden = outside
    if len(doubtful):
        hidden.flat[doubtful] = ~_seen_nearby(renderer, geometry, now, previous, doubtful)
    return hidden


def _seen_nearby(renderer: Renderer, geometry: Geometry, now: Buffers, previous: Buffers, pixels: Array) -> Array:
    height, width = now.surface.shape
    own = now.surface.ravel()[pixels]
    body = renderer.surface_body[own]
    expected = geometry.previous_inverse_depth.ravel()[pixels]
    left, top = np.floor(geometry.column.ravel()[pixels]), np.floor(geometry.row.ravel()[pixels])
    seen = np.zeros(len(pixels), bool)
    for down in (0, 1):
        for right in (0, 1):
            column, row = _clamped(left + right, width), _clamped(top + down, height)
            other = np.take(previous.surface, row * width + column)
            seen |= other == own
            related = np.flatnonzero(~seen & (np.take(renderer.surface_body, other) == body))
            plane = previous.inverse[other[related], 2]
            depth = plane[:, 0] * column[related] + plane[:, 1] * row[related] + plane[:, 2]
            seen[related] = np.abs(depth - expected[related]) < 0.03 * np.abs(expected[related])
    return seen


def _clamped(position: Array, size: int) -> Array:
    """Positions as indices, those outside at the border."""
    return np.clip(position, 0, size - 1).astype(np.intp)
