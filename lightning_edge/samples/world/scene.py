"""The world as tables: bodies that move, the surfaces they consist of, the polygons painted on the surfaces.

A scene is in meters and seconds. It knows no camera, no light and no weather.
"""

from dataclasses import dataclass, field

import numpy as np

from lightning_edge.samples.world.labels import THINGS, Label
from lightning_edge.samples.world.panels import Panel, Shape
from lightning_edge.samples.world.street import EgoMotion, Pose, Street

Array = np.ndarray
STRIDE_M = 1.4
"""Two steps of an adult at an easy walk."""


@dataclass(frozen=True)
class Motion:
    """How a body moves along the street, from where it is at time 0.

    Attributes:
        speed_m_per_s: Speed along ``s``.
        lateral_m_per_s: Speed along ``d``.
        follows_ego: Whether the distance driven by the ego vehicle is added, as for a car in the same queue.
    """

    speed_m_per_s: float = 0.0
    lateral_m_per_s: float = 0.0
    follows_ego: bool = False


STILL = Motion()


@dataclass(frozen=True)
class Footprint:
    """What a body covers, for shadows and for the order of painting: half sizes and heights, meters."""

    half_length_m: float
    half_width_m: float
    low_m: float
    high_m: float


@dataclass
class Scene:
    """All tables; ``[bodies]``, ``[surfaces]``, ``[polygons]`` and ``[corners]`` are their lengths.

    Surfaces of a body and polygons of a body are contiguous and in the order of painting. ``layer`` 0 is the ground,
    1 all that stands on it.
    """

    street: Street
    ego: EgoMotion
    s0: Array
    d0: Array
    turn: Array
    speed: Array
    lateral_speed: Array
    follows_ego: Array
    layer: Array
    instance: Array
    footprint: Array
    is_long: Array
    surface_body: Array
    surface_label: Array
    origin: Array
    axis_u: Array
    axis_v: Array
    is_limb: Array
    is_two_sided: Array
    swing: Array
    texture: Array
    texture_scale: Array
    texture_offset: Array
    tint: Array
    glow: Array
    polygon_surface: Array
    polygon_start: Array
    corners: Array
    lamps: Array
    _static: tuple[Array, Array, Array] = field(init=False, repr=False)
    _moving_bodies: Array = field(init=False, repr=False)
    _moving_surfaces: Array = field(init=False, repr=False)
    _rest: Pose = field(init=False, repr=False)

    def __post_init__(self) -> None:
        moves = (self.speed != 0) | (self.lateral_speed != 0) | self.follows_ego
        self._moving_bodies = np.flatnonzero(moves)
        self._moving_surfaces = np.flatnonzero(moves[self.surface_body])
        self._rest = self.street.to_world(self.s0, self.d0, self.turn)
        on_ground = self.layer == 0
        for values in self._rest:
            values[on_ground] = 0.0
        self._static = self._place(np.arange(len(self.surface_body)), self._rest, np.zeros(len(self.s0)))

    @property
    def surface_instance(self) -> Array:
        """Cityscapes instance id of every surface, which is class * 1000 + number for things, else the class."""
        number = self.instance[self.surface_body]
        label = self.surface_label.astype(np.int32)
        return np.where(number >= 0, label * 1000 + number, label).astype(np.int32)

    def body_poses(self, time_s: float) -> Pose:
        """Where all bodies are."""
        moving = self._moving_bodies
        s, d = self._street_position(moving, time_s)
        pose = Pose(*(values.copy() for values in self._rest))
        for values, new in zip(pose, self.street.to_world(s, d, self.turn[moving]), strict=True):
            values[moving] = new
        return pose

    def _street_position(self, bodies: Array, time_s: float) -> tuple[Array, Array]:
        s = self.s0[bodies] + self.speed[bodies] * time_s + self.follows_ego[bodies] * self.ego.s(time_s)
        return s, self.d0[bodies] + self.lateral_speed[bodies] * time_s

    def surfaces_at(self, time_s: float, pose: Pose) -> tuple[Array, Array, Array]:
        """Origin, axis u and axis v of all surfaces in the world: float64 ``[surfaces, 3]`` each.

        ``pose`` is what ``body_poses`` gives for the same time.
        """
        walked = np.hypot(self.speed, self.lateral_speed) * time_s
        moved = self._place(self._moving_surfaces, pose, walked)
        origin, axis_u, axis_v = (values.copy() for values in self._static)
        origin[self._moving_surfaces], axis_u[self._moving_surfaces], axis_v[self._moving_surfaces] = moved
        return origin, axis_u, axis_v

    def _place(self, surfaces: Array, pose: Pose, walked: Array) -> tuple[Array, Array, Array]:
        body = self.surface_body[surfaces]
        axis_v = self._swung(surfaces, walked[body])
        cos, sin = np.cos(pose.heading[body]), np.sin(pose.heading[body])
        origin = _rotated(self.origin[surfaces], cos, sin)
        origin[:, 0] += pose.x[body]
        origin[:, 1] += pose.y[body]
        return origin, _rotated(self.axis_u[surfaces], cos, sin), _rotated(axis_v, cos, sin)

    def _swung(self, surfaces: Array, walked: Array) -> Array:
        amplitude, phase = self.swing[surfaces].T
        angle = amplitude * np.sin(2 * np.pi / STRIDE_M * walked + phase)
        x, y, z = self.axis_v[surfaces].T
        return np.stack([x * np.cos(angle) - z * np.sin(angle), y, x * np.sin(angle) + z * np.cos(angle)], axis=1)


def _rotated(vectors: Array, cos: Array, sin: Array) -> Array:
    x, y, z = vectors.T
    return np.stack([x * cos - y * sin, x * sin + y * cos, z], axis=1)


class SceneBuilder:
    """Collects bodies and turns them into tables."""

    def __init__(self, street: Street, ego: EgoMotion) -> None:
        self.street, self.ego = street, ego
        self._bodies: list[tuple[float, float, float, Motion, int, int, Footprint, bool]] = []
        self._panels: list[tuple[int, Panel]] = []
        self._lamps: list[tuple[float, float, float]] = []
        self._counts: dict[Label, int] = {}

    def add(
        self,
        shape: Shape,
        s: float,
        d: float,
        turn: float = 0.0,
        *,
        footprint: Footprint,
        motion: Motion = STILL,
        thing: Label | None = None,
        layer: int = 1,
        is_long: bool = False,
    ) -> None:
        """Place one body.

        Args:
            shape: Shape of the body.
            s: Position along the street at time 0.
            d: Position to the left of the road's middle at time 0.
            turn: Heading relative to that of the street.
            footprint: Area that the body covers.
            motion: Motion of the body.
            thing: Class of the body if its instances are counted.
            layer: 0 for the ground, otherwise 1.
            is_long: Whether the body is ordered by its farther end, as walls and houses are.
        """
        number = -1
        if thing is not None:
            if thing not in THINGS:
                raise ValueError(f"expected thing to be one of {sorted(t.name for t in THINGS)}, got {thing!r}")
            number = self._counts.get(thing, 0)
            self._counts[thing] = number + 1
        self._panels += [(len(self._bodies), panel) for panel in shape.panels]
        self._bodies.append((s, d, turn, motion, layer, number, footprint, is_long))

    def add_lamp(self, s: float, d: float, height_m: float) -> None:
        """Remember where light falls from at night."""
        pose = self.street.to_world(s, d)
        self._lamps.append((float(pose.x), float(pose.y), height_m))

    def build(self) -> Scene:
        """Make the tables."""
        s, d, turn, motions, layer, number, footprints, is_long = zip(*self._bodies, strict=True)
        panels = [panel for _, panel in self._panels]
        outlines = [(index, outline) for index, panel in enumerate(panels) for outline in panel.outlines]
        return Scene(
            street=self.street, ego=self.ego, s0=np.array(s), d0=np.array(d), turn=np.array(turn),
            speed=np.array([m.speed_m_per_s for m in motions]),
            lateral_speed=np.array([m.lateral_m_per_s for m in motions]),
            follows_ego=np.array([m.follows_ego for m in motions]),
            layer=np.array(layer), instance=np.array(number), is_long=np.array(is_long),
            footprint=np.array([(f.half_length_m, f.half_width_m, f.low_m, f.high_m) for f in footprints]),
            surface_body=np.array([body for body, _ in self._panels]),
            surface_label=np.array([p.label for p in panels], np.uint8),
            origin=np.array([p.origin for p in panels], float),
            axis_u=np.array([p.axis_u for p in panels], float),
            axis_v=np.array([p.axis_v for p in panels], float),
            is_limb=np.array([p.is_limb for p in panels]),
            is_two_sided=np.array([p.is_two_sided for p in panels]),
            swing=np.array([(p.swing_rad, p.swing_phase_rad) for p in panels]),
            texture=np.array([p.texture for p in panels]),
            texture_scale=1 / np.array([p.tile_m for p in panels]),
            texture_offset=np.array([p.offset for p in panels]),
            tint=np.array([p.tint for p in panels], np.float32),
            glow=np.array([p.glow for p in panels], np.float32),
            polygon_surface=np.array([index for index, _ in outlines]),
            polygon_start=np.cumsum([0, *(len(outline) for _, outline in outlines)]),
            corners=np.concatenate([outline for _, outline in outlines]),
            lamps=np.array(self._lamps).reshape(-1, 3),
        )  # fmt: skip
