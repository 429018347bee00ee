"""The street as a curved strip, and how the ego vehicle drives along it.

Street coordinates are ``s``, meters along the middle of the road, and ``d``, meters to the left of it. Traffic keeps
to the right, so the ego vehicle has negative ``d``.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from lightning_edge.samples.world.district import District

Array = np.ndarray
Crossing = tuple[float, float]
"""Middle and width of a side street along ``s``."""


class Pose(NamedTuple):
    """Positions (meters) and headings (radians) in the world, one for each item."""

    x: Array
    y: Array
    heading: Array


class Street:
    """A road's middle line of slowly changing curvature."""

    def __init__(self, rng: np.random.Generator, length_m: float, start_m: float = -20.0) -> None:
        self.start_m, self.end_m = start_m, length_m
        self._s = np.arange(start_m, length_m + 100.0, 1.0)
        curvature = self._curvature(rng)
        self._heading = np.cumsum(curvature)
        zero = int(-start_m)
        self._heading -= self._heading[zero]
        self._x = np.cumsum(np.cos(self._heading))
        self._y = np.cumsum(np.sin(self._heading))
        self._x -= self._x[zero]
        self._y -= self._y[zero]

    def _curvature(self, rng: np.random.Generator) -> Array:
        """Bends of 8 to 50 degrees over 30 to 60 m between straight or almost straight stretches."""
        curvature = np.zeros_like(self._s)
        at = self.start_m + rng.uniform(20, 90)
        while at < self.end_m:
            span = rng.uniform(30, 60)
            angle = np.deg2rad(rng.uniform(8, 50)) * rng.choice([-1.0, 1.0])
            inside = np.clip((self._s - at) / span, 0, 1)
            curvature += angle / span * (1 - np.cos(2 * np.pi * inside))
            at += span + rng.uniform(40, 150)
        return curvature

    def to_world(self, s: Array | float, d: Array | float, turn: Array | float = 0.0) -> Pose:
        """World poses of points in street coordinates; ``turn`` is added to the street's heading."""
        heading = np.asarray(np.interp(s, self._s, self._heading))
        x = np.interp(s, self._s, self._x) - np.sin(heading) * d
        y = np.interp(s, self._s, self._y) + np.cos(heading) * d
        return Pose(np.asarray(x), np.asarray(y), np.asarray(heading + turn))


@dataclass(frozen=True)
class Profile:
    """Cross-section of the street, meters.

    Lanes are 3.0 to 3.5 m and parking strips 2.1 m wide, after the German guideline for urban streets, RASt 06, as
    remembered.
    """

    lane_m: float
    lanes: int
    parking_left_m: float
    parking_right_m: float
    pavement_left_m: float
    pavement_right_m: float
    verge_m: float
    setback_m: float

    @staticmethod
    def draw(rng: np.random.Generator, district: District) -> "Profile":
        """A random street."""
        parks = rng.random(2) < 0.6
        return Profile(
            lane_m=rng.uniform(3.0, 3.5),
            lanes=1 + int(rng.random() < 0.4),
            parking_left_m=2.1 * float(parks[0]),
            parking_right_m=2.1 * float(parks[1]),
            pavement_left_m=rng.uniform(*district.pavement_m),
            pavement_right_m=rng.uniform(*district.pavement_m),
            verge_m=rng.uniform(1.2, 3.0) if rng.random() < 0.5 else 0.0,
            setback_m=rng.uniform(1.5, 6.0) if rng.random() < district.setback_chance else 0.3,
        )

    @property
    def lanes_edge_m(self) -> float:
        """Distance from the middle to the end of the lanes."""
        return self.lane_m * self.lanes

    def kerb_m(self, side: int) -> float:
        """Unsigned distance from the middle to the kerb; ``side`` is 1 on the left, -1 on the right."""
        return self.lanes_edge_m + (self.parking_left_m if side > 0 else self.parking_right_m)

    def pavement_end_m(self, side: int) -> float:
        """Unsigned distance from the middle to the far edge of the pavement."""
        return self.kerb_m(side) + (self.pavement_left_m if side > 0 else self.pavement_right_m)

    def facade_m(self, side: int) -> float:
        """Unsigned distance from the middle to the houses."""
        return self.pavement_end_m(side) + self.verge_m + self.setback_m


class EgoMotion:
    """How the ego vehicle drives: speed over time, and a slight wander inside its lane.

    Speeds are urban, 0 to 13.5 m/s; accelerations stay below the 3 m/s2 that drivers find comfortable. One drive in six
    starts from a standstill.
    """

    STEP_S = 0.01

    def __init__(self, rng: np.random.Generator, lane_d_m: float, duration_s: float, lead_in_s: float = 1.0) -> None:
        self._lane_d_m = lane_d_m
        self._wander = rng.uniform(0.05, 0.25), rng.uniform(10, 18), rng.uniform(0, 2 * np.pi)
        self._time_s = np.arange(-lead_in_s, duration_s + 1.0, self.STEP_S)
        target = self._target_speed(rng)
        speed, speeds = float(target[0]), np.empty_like(target)
        for index, goal in enumerate(target):
            speed += float(np.clip(goal - speed, -2.5 * self.STEP_S, 1.6 * self.STEP_S))
            speeds[index] = speed
        self._speed_m_per_s = speeds
        self._s = np.cumsum(speeds) * self.STEP_S
        self._s -= self._s[int(lead_in_s / self.STEP_S)]

    def _target_speed(self, rng: np.random.Generator) -> Array:
        target = np.empty_like(self._time_s)
        at = 0
        speed = 0.0 if rng.random() < 1 / 6 else rng.uniform(2.5, 13.5)
        while at < len(target):
            until = at + int(rng.uniform(1.0, 7.0) / self.STEP_S)
            target[at:until] = speed
            at, speed = until, (0.0 if rng.random() < 0.15 else rng.uniform(2.5, 13.5))
        return target

    def speed_m_per_s(self, time_s: float) -> float:
        """Speed along the street."""
        return float(np.interp(time_s, self._time_s, self._speed_m_per_s))

    def s(self, time_s: float) -> float:
        """Meters driven along the street since time 0."""
        return float(np.interp(time_s, self._time_s, self._s))

    def street_pose(self, time_s: float) -> tuple[float, float, float]:
        """``s``, ``d`` and the heading against the street's."""
        s = self.s(time_s)
        size, period, phase = self._wander
        return (
            s,
            self._lane_d_m + size * np.sin(s / period + phase),
            np.arctan(size / period * np.cos(s / period + phase)),
        )


def draw_crossings(rng: np.random.Generator, street: Street) -> list[Crossing]:
    """Middles and widths of side streets along ``s``."""
    crossings, at = [], street.start_m + rng.uniform(30, 110)
    while at < street.end_m - 20:
        crossings.append((at, rng.uniform(7, 12)))
        at += rng.uniform(60, 130)
    return crossings


def near_crossing(s: float, crossings: list[Crossing], margin_m: float) -> bool:
    """Whether ``s`` is within a crossing or the margin around one."""
    return any(abs(s - middle) < width / 2 + margin_m for middle, width in crossings)
