"""Flat, textured panels, of which all objects in the world consist.

Object coordinates are meters: x forward, y left, z up, origin on the ground. A panel lies in a plane ``origin + u *
axis_u + v * axis_v`` and shows its front when seen against ``axis_u x axis_v``. A *limb* is a panel that turns about
``axis_v`` towards the viewer, as a pole, an arm or a tree top does not change its outline when one walks around it.
"""

from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np

from lightning_edge.samples.world.labels import Label
from lightning_edge.samples.world.textures import Texture

Vector = tuple[float, float, float]
Outline = np.ndarray
"""Corners of a polygon in panel coordinates, float ``[corners, 2]``, meters."""

ZERO: Vector = (0.0, 0.0, 0.0)
FORWARD: Vector = (1.0, 0.0, 0.0)
LEFT: Vector = (0.0, 1.0, 0.0)
UP: Vector = (0.0, 0.0, 1.0)
DOWN: Vector = (0.0, 0.0, -1.0)


@dataclass(frozen=True)
class Panel:
    """One flat surface with its material.

    Attributes:
        label: Class of the pixels.
        texture: Material.
        tint: RGB factor of the texture.
        outlines: Polygons that are painted.
        origin: Point where u = v = 0.
        axis_u: Unit vector; meaningless in a limb.
        axis_v: Unit vector.
        tile_m: Size of one repetition of the texture along u and v.
        offset: Texture coordinates at u = v = 0, in repetitions.
        is_limb: Whether the panel turns towards the viewer.
        is_two_sided: Whether the panel is also visible from behind.
        swing_rad: Amplitude with which a limb swings in the x-z plane while its object walks.
        swing_phase_rad: Phase of the step at rest.
        glow: Light that the panel emits when lamps are on, in units of a sunlit white wall.
    """

    label: Label
    texture: Texture
    tint: Vector
    outlines: tuple[Outline, ...]
    origin: Vector = ZERO
    axis_u: Vector = FORWARD
    axis_v: Vector = UP
    tile_m: tuple[float, float] = (1.0, 1.0)
    offset: tuple[float, float] = (0.0, 0.0)
    is_limb: bool = False
    is_two_sided: bool = False
    swing_rad: float = 0.0
    swing_phase_rad: float = 0.0
    glow: float = 0.0


@dataclass
class Shape:
    """Panels of one object in the order in which they are painted over one another."""

    panels: list[Panel] = field(default_factory=list)

    def moved(self, forward_m: float = 0.0, left_m: float = 0.0, up_m: float = 0.0) -> "Shape":
        """The same panels, shifted."""
        shift = np.array([forward_m, left_m, up_m])
        return Shape([replace(p, origin=tuple((np.asarray(p.origin) + shift).tolist())) for p in self.panels])


def rectangle(u0: float, v0: float, u1: float, v1: float) -> Outline:
    """Corners of an upright rectangle."""
    return np.array([(u0, v0), (u1, v0), (u1, v1), (u0, v1)], float)


def ellipse(center_u: float, center_v: float, radius_u: float, radius_v: float, corners: int = 10) -> Outline:
    """Corners of a polygon on an ellipse."""
    angle = np.arange(corners) * 2 * np.pi / corners
    return np.stack([center_u + radius_u * np.cos(angle), center_v + radius_v * np.sin(angle)], axis=1)


def blob(rng: np.random.Generator, radius_u: float, radius_v: float, corners: int = 14) -> Outline:
    """A ragged round outline about (0, 0), as of leaves."""
    angle = (np.arange(corners) + rng.uniform(-0.3, 0.3, corners)) * 2 * np.pi / corners
    ragged = rng.uniform(0.78, 1.12, corners)
    return np.stack([radius_u * ragged * np.cos(angle), radius_v * ragged * np.sin(angle)], axis=1)


def limb(
    label: Label,
    texture: Texture,
    tint: Vector,
    start: Vector,
    end: Vector,
    width_m: float,
    end_width_m: float | None = None,
) -> Panel:
    """A round rod from ``start`` to ``end`` as a panel that faces the viewer."""
    way = np.subtract(end, start)
    length = float(np.linalg.norm(way))
    last = width_m if end_width_m is None else end_width_m
    outline = np.array([(-width_m / 2, 0), (width_m / 2, 0), (last / 2, length), (-last / 2, length)])
    widest = max(width_m, last)
    return Panel(
        label,
        texture,
        tint,
        (outline,),
        start,
        axis_v=tuple((way / length).tolist()),
        tile_m=(widest, 1.0),
        offset=(0.5, 0.0),
        is_limb=True,
    )


def extrude(label: Label, texture: Texture, tint: Vector, profile: np.ndarray, width_m: float) -> list[Panel]:
    """Closed body over a side view: the strips across first, then both sides.

    Args:
        label: Class.
        texture: Material.
        tint: RGB factor.
        profile: Corners (x, z) from the lower rear over the top to the lower front, meters.
        width_m: Size along y.
    """
    half = width_m / 2
    panels = []
    for (x0, z0), (x1, z1) in pairwise(profile):
        length = float(np.hypot(x1 - x0, z1 - z0))
        axis_v = ((x1 - x0) / length, 0.0, (z1 - z0) / length)
        outline = (rectangle(-half, 0, half, length),)
        panels.append(Panel(label, texture, tint, outline, (x0, 0.0, z0), (0.0, -1.0, 0.0), axis_v))
    return [*panels, *sides(label, texture, tint, (profile,), width_m)]


def sides(label: Label, texture: Texture, tint: Vector, outlines: tuple[Outline, ...], width_m: float) -> list[Panel]:
    """The same outlines (x, z) on both flanks of a body."""
    mirrored = tuple(outline * (-1.0, 1.0) for outline in outlines)
    left = Panel(label, texture, tint, mirrored, (0.0, width_m / 2, 0.0), (-1.0, 0.0, 0.0))
    right = Panel(label, texture, tint, outlines, (0.0, -width_m / 2, 0.0), FORWARD)
    return [left, right]
