"""Lays out a street: ground, houses, furniture, parked and moving traffic, people.

The counts and spacings below were tuned until the pixel shares of the classes met those measured on real data
(docs/decisions/0002-sample-world.md).
"""

from dataclasses import replace

import numpy as np

from lightning_edge.samples import furniture, people, vehicles
from lightning_edge.samples.buildings import building
from lightning_edge.samples.labels import Label
from lightning_edge.samples.panels import LEFT, Panel, Shape, rectangle
from lightning_edge.samples.scene import Footprint, Motion, Scene, SceneBuilder
from lightning_edge.samples.street import EgoMotion, Profile, Street
from lightning_edge.samples.textures import Texture

VIEW_M = 170.0
"""How far the street goes on beyond the last place of the ego vehicle."""
SIDES = (1, -1)
Generator = np.random.Generator


def build_town(seed: int, duration_s: float) -> Scene:
    """A street and all that happens on it while the ego vehicle drives for ``duration_s``."""
    rng = np.random.default_rng([seed, 0])
    profile = Profile.draw(rng)
    lane = 0 if profile.lanes == 1 else int(rng.integers(profile.lanes))
    ego = EgoMotion(rng, -profile.lane_m * (lane + 0.5), duration_s)
    street = Street(rng, ego.s(duration_s) + VIEW_M)
    builder = SceneBuilder(street, ego)
    crossings = _crossings(rng, street)
    _add_ground(builder, street, profile, crossings, rng)
    for side in SIDES:
        _add_houses(builder, rng, street, profile, side, crossings)
        _add_furniture(builder, rng, street, profile, side, crossings)
        _add_parked(builder, rng, street, profile, side, crossings)
        _add_people(builder, rng, street, profile, side)
    _add_crossing_things(builder, rng, profile, crossings)
    _add_traffic(builder, rng, street, profile, lane)
    _add_riders(builder, rng, street, profile)
    _close_view(builder, rng, street)
    return builder.build()


def _crossings(rng: Generator, street: Street) -> list[tuple[float, float]]:
    """Middles and widths of side streets along ``s``."""
    crossings, at = [], street.start_m + rng.uniform(30, 110)
    while at < street.end_m - 20:
        crossings.append((at, rng.uniform(7, 12)))
        at += rng.uniform(60, 130)
    return crossings


def _near_crossing(s: float, crossings: list[tuple[float, float]], margin_m: float) -> bool:
    return any(abs(s - middle) < width / 2 + margin_m for middle, width in crossings)


def _add_ground(
    builder: SceneBuilder, street: Street, profile: Profile, crossings: list[tuple[float, float]], rng: Generator
) -> None:
    grey = rng.uniform(0.85, 1.15)
    paving = Texture.PAVING if rng.random() < 0.7 else Texture.COBBLE
    grass = tuple(rng.uniform((0.8, 0.85, 0.7), (1.25, 1.1, 1.2)).tolist())
    asphalt = (grey, grey, grey * rng.uniform(0.97, 1.06))
    white = (0.95, 0.95, 0.9)
    left, right = profile.kerb_m(1), profile.kerb_m(-1)
    edge = profile.lanes_edge_m
    side_streets = [_side_street(street, middle, width, 0.0) for middle, width in crossings]
    side_walks = [_side_street(street, middle, width, 2.2) for middle, width in crossings]
    pavements = [*_strip(street, left, profile.pavement_end_m(1)), *_strip(street, -profile.pavement_end_m(-1), -right)]
    kerbs = [*_strip(street, left, left + 0.14), *_strip(street, -right - 0.14, -right)]
    parking = [*_strip(street, edge, left), *_strip(street, -right, -edge)] if max(left, right) > edge else []
    hill = (rectangle(-3000, -3000, 3000, 3000),)
    pieces = [
        (Label.TERRAIN, Texture.GRASS, grass, hill, 5.0),
        (Label.SIDEWALK, paving, (1.0, 1.0, 1.0), [*pavements, *side_walks], 2.4),
        (Label.SIDEWALK, Texture.PLAIN, (0.62, 0.61, 0.6), kerbs, 2.0),
        (Label.ROAD, Texture.ASPHALT, asphalt, [*_strip(street, -right, left), *side_streets], 7.0),
        (Label.ROAD, Texture.COBBLE, (0.95, 0.93, 0.92), parking, 2.4),
        (Label.ROAD, Texture.ASPHALT, asphalt, side_streets, 7.0),
        (Label.ROAD, Texture.PLAIN, white, _markings(street, profile, crossings), 2.0),
    ]
    panels = [
        Panel(label, texture, tint, tuple(outlines), axis_v=LEFT, tile_m=(tile, tile), is_two_sided=True)
        for label, texture, tint, outlines, tile in pieces if len(outlines)
    ]  # fmt: skip
    builder.add(Shape(panels), 0.0, 0.0, footprint=Footprint(0, 0, 0, 0), layer=0)


def _strip(street: Street, d0: float, d1: float, s0: float | None = None, s1: float | None = None) -> list[np.ndarray]:
    """Outlines that cover a strip between two distances from the middle, in pieces of about 16 m."""
    start, end = street.start_m if s0 is None else s0, street.end_m if s1 is None else s1
    cuts = np.linspace(start, end, max(2, int(np.ceil((end - start) / 16)) + 1))
    outlines = []
    for low, high in zip(cuts[:-1], cuts[1:], strict=True):
        s = np.linspace(low, high, 5 if high - low > 6 else 2)
        near, far = street.to_world(s, np.full_like(s, d0)), street.to_world(s[::-1], np.full_like(s, d1))
        outlines.append(np.column_stack([np.concatenate([near.x, far.x]), np.concatenate([near.y, far.y])]))
    return outlines


def _side_street(street: Street, middle: float, width: float, margin: float) -> np.ndarray:
    """A straight road across: world outline, 70 m to either side."""
    pose = street.to_world(middle, 0.0)
    along = np.array([np.cos(pose.heading), np.sin(pose.heading)]) * (width / 2 + margin)
    across = np.array([-np.sin(pose.heading), np.cos(pose.heading)]) * 70
    centre = np.array([float(pose.x), float(pose.y)])
    return np.array(
        [centre - along - across, centre + along - across, centre + along + across, centre - along + across]
    )


def _markings(street: Street, profile: Profile, crossings: list[tuple[float, float]]) -> list[np.ndarray]:
    """Lane lines (3 m dashes, 6 m gaps, 0.12 m wide, as the German RMS has them in towns), stop lines, zebras."""
    outlines = []
    lines = [i * profile.lane_m for i in range(-profile.lanes + 1, profile.lanes)]
    for s in np.arange(street.start_m, street.end_m - 3, 9.0):
        if not _near_crossing(s, crossings, 5.0):
            for d in lines:
                outlines += _strip(street, d - 0.07, d + 0.07, s, s + 3.0)
    edge = profile.lanes_edge_m
    for middle, width in crossings:
        before = middle - width / 2 - 4.5
        if before > street.start_m + 5:
            outlines += _strip(street, -edge, 0.0, before - 1.5, before - 1.1)
            for d in np.arange(-edge + 0.2, edge - 0.4, 1.0):
                outlines += _strip(street, d, d + 0.5, before, before + 3.0)
    return outlines


def _add_houses(
    builder: SceneBuilder,
    rng: Generator,
    street: Street,
    profile: Profile,
    side: int,
    crossings: list[tuple[float, float]],
) -> None:
    """A row of houses, gardens and small parks along one side."""
    at, storeys = street.start_m, int(rng.integers(2, 5))
    density = rng.uniform(0.45, 0.95)
    while at < street.end_m:
        width = rng.uniform(9, 20)
        middle = at + width / 2
        if _near_crossing(middle, crossings, width / 2 + 2.5):
            at += 3.0
            continue
        facade = profile.facade_m(side)
        if rng.random() < density:
            floors = int(np.clip(storeys + rng.integers(-1, 2), 1, 6))
            _add_house(builder, rng, middle, side * (facade + rng.uniform(0, 0.8)), width, floors)
        else:
            _add_garden(builder, rng, middle, width, side * profile.pavement_end_m(side), side)
        if profile.setback_m > 1.5 and rng.random() < 0.6:
            _add_boundary(builder, rng, middle, width, side * (profile.pavement_end_m(side) + profile.verge_m + 0.3))
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


def _add_boundary(builder: SceneBuilder, rng: Generator, s: float, width: float, d: float) -> None:
    """What parts a garden from the street, in pieces short enough to be ordered by their middle."""
    kind = int(rng.choice(3, p=[0.35, 0.3, 0.35]))
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
    crossings: list[tuple[float, float]],
) -> None:
    kerb, thin = profile.kerb_m(side), Footprint(0.1, 0.1, 0, 5)
    inward = -side * np.pi / 2
    for s in np.arange(street.start_m + rng.uniform(0, 25), street.end_m, rng.uniform(22, 32)):
        if not _near_crossing(s, crossings, 1):
            builder.add(furniture.lamp_post(rng), s, side * (kerb + 0.4), inward, footprint=thin)
            builder.add_lamp(s, side * (kerb - 1.0), 7.0)
    for s in np.arange(street.start_m + rng.uniform(0, 15), street.end_m, rng.uniform(14, 30)):
        kind = furniture.traffic_sign if rng.random() < 0.8 else furniture.direction_sign
        towards = np.pi if side < 0 or rng.random() < 0.5 else 0.0
        builder.add(
            kind(rng), s + rng.uniform(-4, 4), side * (kerb + 0.6), towards + rng.normal(0, 0.1), footprint=thin
        )
    if rng.random() < 0.6:
        spacing = rng.uniform(8, 16)
        row = kerb + 0.9 if profile.verge_m == 0 else profile.pavement_end_m(side) + profile.verge_m / 2
        for s in np.arange(street.start_m + rng.uniform(0, 10), street.end_m, spacing):
            if not _near_crossing(s, crossings, 3):
                _add_tree(builder, rng, s, side * row)
    for s in rng.uniform(street.start_m, street.end_m, int((street.end_m - street.start_m) / 40)):
        builder.add(furniture.litter_bin(rng), s, side * (kerb + 0.5), footprint=Footprint(0.3, 0.3, 0, 1))
    if rng.random() < 0.3:
        first = rng.uniform(street.start_m, street.end_m - 40)
        for s in np.arange(first, first + 30, 2.5):
            builder.add(furniture.bollard(rng), s, side * (kerb + 0.3), footprint=Footprint(0.1, 0.1, 0, 1))


def _add_parked(
    builder: SceneBuilder,
    rng: Generator,
    street: Street,
    profile: Profile,
    side: int,
    crossings: list[tuple[float, float]],
) -> None:
    width = profile.parking_left_m if side > 0 else profile.parking_right_m
    occupancy, at = rng.uniform(0.35, 0.9), street.start_m
    while at < street.end_m and width:
        if rng.random() < occupancy and not _near_crossing(at, crossings, 7):
            d = side * (profile.lanes_edge_m + 1.05 + rng.normal(0, 0.08))
            turn = (0.0 if side < 0 else np.pi) + rng.normal(0, 0.02)
            _add_vehicle(builder, rng, at, d, turn, Motion(), p_large=0.03)
        at += rng.uniform(5.3, 6.4)
    for s in rng.uniform(street.start_m, street.end_m, int(rng.integers(2, 9))):
        turn = rng.choice([0.0, np.pi / 2]) + rng.normal(0, 0.2)
        two_wheeler = (
            (vehicles.bicycle, Label.BICYCLE) if rng.random() < 0.85 else (vehicles.motorcycle, Label.MOTORCYCLE)
        )
        builder.add(two_wheeler[0](rng), s, side * (profile.pavement_end_m(side) - 0.5), turn,
                    footprint=Footprint(0.8, 0.15, 0, 0.9), thing=two_wheeler[1])  # fmt: skip


def _add_vehicle(
    builder: SceneBuilder, rng: Generator, s: float, d: float, turn: float, motion: Motion, p_large: float
) -> None:
    kind = rng.random()
    if kind < p_large:
        builder.add(
            vehicles.lorry(rng), s, d, turn, footprint=Footprint(3.6, 1.2, 0.2, 3.0), motion=motion, thing=Label.TRUCK
        )
    elif kind < 1.7 * p_large and motion != Motion():
        builder.add(
            vehicles.bus(rng), s, d, turn, footprint=Footprint(5.8, 1.25, 0.2, 3.0), motion=motion, thing=Label.BUS
        )
    else:
        builder.add(
            vehicles.car(rng), s, d, turn, footprint=Footprint(2.1, 0.85, 0.15, 1.3), motion=motion, thing=Label.CAR
        )


def _add_people(builder: SceneBuilder, rng: Generator, street: Street, profile: Profile, side: int) -> None:
    """People on the pavement, walking at 1.34 m/s on average with a deviation of 0.26 m/s (Weidmann 1993)."""
    length = street.end_m - street.start_m
    groups = rng.poisson(length / 100 * rng.uniform(0.8, 7.0))
    kerb, end = profile.kerb_m(side), profile.pavement_end_m(side)
    for s in rng.uniform(street.start_m, street.end_m, groups):
        d = side * rng.uniform(kerb + 0.5, end - 0.3)
        is_walking = rng.random() < 0.8
        way = float(rng.choice([-1, 1]))
        speed = way * float(np.clip(rng.normal(1.34, 0.26), 0.6, 2.2)) if is_walking else 0.0
        for index in range(1 + int(rng.geometric(0.6) - 1)):
            turn = (0.0 if way > 0 else np.pi) if is_walking else rng.uniform(0, 2 * np.pi)
            _add_pedestrian(builder, rng, s + rng.normal(0, 0.15), d + 0.65 * index * side, turn, Motion(speed))


def _add_pedestrian(builder: SceneBuilder, rng: Generator, s: float, d: float, turn: float, motion: Motion) -> None:
    is_walking = motion != Motion()
    builder.add(people.pedestrian(rng, is_walking), s, d, turn, footprint=Footprint(0.2, 0.25, 0, 1.7), motion=motion,
                thing=Label.PERSON)  # fmt: skip


def _add_crossing_things(
    builder: SceneBuilder, rng: Generator, profile: Profile, crossings: list[tuple[float, float]]
) -> None:
    """Traffic lights, people who cross on the zebra, and houses that close the view into side streets."""
    for middle, width in crossings:
        if rng.random() < 0.6:
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
                _add_pedestrian(builder, rng, s, start, -side * np.pi / 2, Motion(0.0, speed))
        for side in SIDES:
            _add_house(builder, rng, middle, side * rng.uniform(32, 60), 30.0, int(rng.integers(2, 5)))
            _add_tree(builder, rng, middle + rng.choice([-1, 1]) * (width / 2 + 3.2), side * rng.uniform(22, 28))


def _add_traffic(builder: SceneBuilder, rng: Generator, street: Street, profile: Profile, ego_lane: int) -> None:
    """Cars ahead in the same direction, cars that come the other way."""
    busy = rng.uniform(0.15, 1.0)
    for lane in range(profile.lanes):
        d = -profile.lane_m * (lane + 0.5)
        at = rng.uniform(8, 30) if lane == ego_lane else rng.uniform(-5, 25)
        while at < street.end_m - 20:
            if rng.random() < busy:
                drift = rng.uniform(-0.5, 1.5) if at > 14 else rng.uniform(0.0, 1.0)
                motion = Motion(drift, follows_ego=True)
                _add_vehicle(builder, rng, at, d + rng.normal(0, 0.15), rng.normal(0, 0.01), motion, p_large=0.09)
            at += rng.uniform(14, 45)
        at = rng.uniform(5, 40)
        while at < street.end_m + 60:
            if rng.random() < busy:
                motion = Motion(-rng.uniform(5, 13))
                _add_vehicle(builder, rng, at, -d + rng.normal(0, 0.15), np.pi, motion, p_large=0.09)
            at += rng.uniform(16, 60)


def _add_riders(builder: SceneBuilder, rng: Generator, street: Street, profile: Profile) -> None:
    """Cyclists near the right edge of the lanes, at 4.5 m/s on average, a few on motorcycles."""
    for _ in range(rng.poisson(2.0)):
        is_motorised = rng.random() < 0.15
        side = int(rng.choice(SIDES, p=[0.4, 0.6]))
        s, d = rng.uniform(9, min(120.0, street.end_m)), side * (profile.lanes_edge_m - rng.uniform(0.2, 0.8))
        speed = -side * (rng.uniform(6, 11) if is_motorised else rng.normal(4.5, 0.8))
        ride, label = (vehicles.motorcycle, Label.MOTORCYCLE) if is_motorised else (vehicles.bicycle, Label.BICYCLE)
        turn = 0.0 if side < 0 else np.pi
        motion, footprint = Motion(speed), Footprint(0.8, 0.2, 0.0, 1.6)
        builder.add(ride(rng), s, d, turn, footprint=footprint, motion=motion, thing=label)
        shape = people.rider(rng)
        if is_motorised:
            shape = Shape([replace(p, swing_rad=0.0) for p in shape.panels])
        builder.add(shape, s, d, turn, footprint=footprint, motion=motion, thing=Label.RIDER)


def _close_view(builder: SceneBuilder, rng: Generator, street: Street) -> None:
    """Houses and trees across the end of the street, so that it does not end in nothing."""
    for d in np.arange(-70.0, 71.0, 14.0):
        if rng.random() < 0.7:
            shape = building(rng, 14.0, int(rng.integers(2, 5)))
            builder.add(shape, street.end_m + 14, d, -np.pi / 2, footprint=Footprint(7, 0.5, 0, 10), is_long=True)
        for _ in range(2):
            _add_tree(builder, rng, street.end_m + rng.uniform(4, 12), d + rng.uniform(-6, 6))
