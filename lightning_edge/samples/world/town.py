"""Lays out a street: ground, houses, furniture, traffic and people.

Counts and spacings that differ between towns are in ``district.py``.
"""

import math

import numpy as np

from lightning_edge.samples.world import furniture
from lightning_edge.samples.world.buildings import building
from lightning_edge.samples.world.district import CITY, District
from lightning_edge.samples.world.ground import add_ground
from lightning_edge.samples.world.scene import Footprint, Motion, Scene, SceneBuilder
from lightning_edge.samples.world.street import Crossing, EgoMotion, Profile, Street, draw_crossings, near_crossing
from lightning_edge.samples.world.traffic import add_parked, add_pedestrian, add_people, add_riders, add_traffic

VIEW_M = 150.0
"""Length of the street beyond the last position of the ego vehicle."""
SIDES = (1, -1)
PERIOD_S = 2.0
Generator = np.random.Generator


def build_town(seed: int, duration_s: float, district: District = CITY) -> Scene:
    """A street and all that happens on it while the ego vehicle drives for ``duration_s``.

    Durations are rounded up to even seconds: a shorter drive is then the beginning of a longer one in the same world.
    """
    duration_s = _whole_periods(duration_s)
    rng = np.random.default_rng([seed, 0])
    profile, lane, ego = _draw_drive(rng, duration_s, district)
    street = Street(rng, ego.s(duration_s) + VIEW_M)
    builder = SceneBuilder(street, ego)
    crossings = draw_crossings(rng, street)
    add_ground(builder, street, profile, crossings, rng)
    for side in SIDES:
        _add_houses(builder, rng, street, profile, side, crossings, district)
        _add_furniture(builder, rng, street, profile, side, crossings, district)
        add_parked(builder, rng, street, profile, side, crossings, district)
        add_people(builder, rng, street, profile, side, district)
    _add_crossing_things(builder, rng, profile, crossings, district)
    add_traffic(builder, rng, street, profile, lane, district)
    add_riders(builder, rng, street, profile, district)
    _close_view(builder, rng, street, district)
    return builder.build()


def ego_motion(seed: int, duration_s: float, district: District = CITY) -> EgoMotion:
    """How the ego vehicle drives through ``build_town`` of the same arguments, without the town."""
    return _draw_drive(np.random.default_rng([seed, 0]), _whole_periods(duration_s), district)[2]


def _whole_periods(duration_s: float) -> float:
    return PERIOD_S * max(1, math.ceil(duration_s / PERIOD_S))


def _draw_drive(rng: Generator, duration_s: float, district: District) -> tuple[Profile, int, EgoMotion]:
    """The street's profile, the lane, and how the ego vehicle drives along it."""
    profile = Profile.draw(rng, district)
    lane = 0 if profile.lanes == 1 else int(rng.integers(profile.lanes))
    return profile, lane, EgoMotion(rng, -profile.lane_m * (lane + 0.5), duration_s)


def _add_houses(
    builder: SceneBuilder,
    rng: Generator,
    street: Street,
    profile: Profile,
    side: int,
    crossings: list[Crossing],
    district: District,
) -> None:
    """A row of houses, gardens and small parks along one side."""
    at, storeys = street.start_m, int(rng.integers(district.storeys[0], district.storeys[1] + 1))
    density = rng.uniform(*district.house_share)
    while at < street.end_m:
        width = rng.uniform(9, 20)
        middle = at + width / 2
        if near_crossing(middle, crossings, width / 2 + 2.5):
            at += 3.0
            continue
        facade = profile.facade_m(side)
        if rng.random() < density:
            floors = int(np.clip(storeys + rng.integers(-1, 2), 1, 8))
            _add_house(builder, rng, middle, side * (facade + rng.uniform(0, 0.8)), width, floors)
        else:
            _add_garden(builder, rng, middle, width, side * profile.pavement_end_m(side), side)
        if profile.setback_m > 1.5 and rng.random() < district.boundary_chance:
            d = side * (profile.pavement_end_m(side) + profile.verge_m + 0.3)
            _add_boundary(builder, rng, middle, width, d, district)
        at += width + (rng.uniform(2, 5) if rng.random() < 0.3 else 0.05)


def _add_house(builder: SceneBuilder, rng: Generator, s: float, d: float, width: float, floors: int) -> None:
    shape = building(rng, width, floors)
    turn = 0.0 if d > 0 else np.pi
    builder.add(shape, s, d, turn, footprint=Footprint(width / 2, 0.5, 0.0, 3.2 * floors), is_long=True)


def _add_garden(builder: SceneBuilder, rng: Generator, s: float, width: float, d: float, side: int) -> None:
    for _ in range(int(width / 3)):
        _add_tree(builder, rng, s + rng.uniform(-0.5, 0.5) * width, d + side * rng.uniform(3, 16))
    for _ in range(2):
        _add_hedge(builder, rng, s + rng.uniform(-0.4, 0.4) * width, d + side * rng.uniform(8, 14), 5.0)


def _add_boundary(builder: SceneBuilder, rng: Generator, s: float, width: float, d: float, district: District) -> None:
    """What parts a garden from the street, in pieces short enough to be ordered by their middle."""
    fences, walls = district.fence_share, district.wall_share
    kind = int(rng.choice(3, p=[fences, walls, 1 - fences - walls]))
    state = rng.bit_generator.state
    pieces = max(1, round(width / 3.0))
    for index in range(pieces):
        middle = s + width * ((index + 0.5) / pieces - 0.5)
        if kind == 2:
            _add_hedge(builder, rng, middle, d, width / pieces)
            continue
        rng.bit_generator.state = state
        shape = (furniture.fence, furniture.wall)[kind](rng, width / pieces + 0.1)
        builder.add(shape, middle, d, footprint=Footprint(1.5, 0.1, 0, 1.2))


def _add_tree(builder: SceneBuilder, rng: Generator, s: float, d: float) -> None:
    builder.add(furniture.tree(rng), s, d, footprint=Footprint(1.5, 1.5, 2.0, 5.0))


def _add_hedge(builder: SceneBuilder, rng: Generator, s: float, d: float, length: float) -> None:
    builder.add(furniture.hedge(rng, length), s, d, footprint=Footprint(length / 2, 0.4, 0, 1.0))


def _add_furniture(
    builder: SceneBuilder,
    rng: Generator,
    street: Street,
    profile: Profile,
    side: int,
    crossings: list[Crossing],
    district: District,
) -> None:
    kerb, thin = profile.kerb_m(side), Footprint(0.1, 0.1, 0, 5)
    inward = -side * np.pi / 2
    for s in np.arange(street.start_m + rng.uniform(0, 25), street.end_m, rng.uniform(*district.lamp_spacing_m)):
        if not near_crossing(s, crossings, 1):
            builder.add(furniture.lamp_post(rng), s, side * (kerb + 0.4), inward, footprint=thin)
            builder.add_lamp(s, side * (kerb - 1.0), 7.0)
    for s in np.arange(street.start_m + rng.uniform(0, 15), street.end_m, rng.uniform(*district.sign_spacing_m)):
        kind = furniture.direction_sign if rng.random() < district.board_share else furniture.traffic_sign
        towards = np.pi if side < 0 or rng.random() < 0.5 else 0.0
        builder.add(
            kind(rng), s + rng.uniform(-4, 4), side * (kerb + 0.6), towards + rng.normal(0, 0.1), footprint=thin
        )
    if rng.random() < district.avenue_chance:
        spacing = rng.uniform(8, 16)
        row = kerb + 0.9 if profile.verge_m == 0 else profile.pavement_end_m(side) + profile.verge_m / 2
        for s in np.arange(street.start_m + rng.uniform(0, 10), street.end_m, spacing):
            if not near_crossing(s, crossings, 3):
                _add_tree(builder, rng, s, side * row)
    for s in rng.uniform(street.start_m, street.end_m, int((street.end_m - street.start_m) / 40)):
        builder.add(furniture.litter_bin(rng), s, side * (kerb + 0.5), footprint=Footprint(0.3, 0.3, 0, 1))
    if rng.random() < 0.3:
        first = rng.uniform(street.start_m, street.end_m - 40)
        for s in np.arange(first, first + 30, 2.5):
            builder.add(furniture.bollard(rng), s, side * (kerb + 0.3), footprint=Footprint(0.1, 0.1, 0, 1))


def _add_crossing_things(
    builder: SceneBuilder, rng: Generator, profile: Profile, crossings: list[Crossing], district: District
) -> None:
    """Traffic lights, people who cross on the zebra, and houses that close the view into side streets."""
    for middle, width in crossings:
        if rng.random() < district.signal_chance:
            for side in SIDES:
                s = middle - width / 2 - 3.0 if side < 0 else middle + width / 2 + 1.0
                builder.add(furniture.traffic_light(rng), s, side * (profile.kerb_m(side) + 0.4), np.pi,
                            footprint=Footprint(0.1, 0.1, 0, 3.5))  # fmt: skip
        for _ in range(rng.poisson(0.8)):
            side = int(rng.choice(SIDES))
            s = middle - width / 2 - 3.0 + rng.uniform(-1, 1)
            if s > 14:
                speed = -side * rng.uniform(1.0, 1.6)
                start = side * rng.uniform(0.0, profile.kerb_m(side))
                add_pedestrian(builder, rng, s, start, -side * np.pi / 2, Motion(0.0, speed))
        for side in SIDES:
            _add_house(
                builder,
                rng,
                middle,
                side * rng.uniform(32, 60),
                30.0,
                int(rng.integers(district.storeys[0], district.storeys[1] + 2)),
            )
            _add_tree(builder, rng, middle + rng.choice([-1, 1]) * (width / 2 + 3.2), side * rng.uniform(22, 28))


def _close_view(builder: SceneBuilder, rng: Generator, street: Street, district: District) -> None:
    """Houses and trees across the end of the street, so that it does not end in nothing."""
    for d in np.arange(-70.0, 71.0, 14.0):
        if rng.random() < 0.7:
            shape = building(rng, 14.0, int(rng.integers(district.storeys[0], district.storeys[1] + 2)))
            builder.add(shape, street.end_m + 14, d, -np.pi / 2, footprint=Footprint(7, 0.5, 0, 10), is_long=True)
        for _ in range(2):
            _add_tree(builder, rng, street.end_m + rng.uniform(4, 12), d + rng.uniform(-6, 6))
