"""Who is on the way: parked and moving vehicles, people on foot and on two wheels."""

from dataclasses import replace

import numpy as np

from lightning_edge.samples.world import people, vehicles
from lightning_edge.samples.world.district import District
from lightning_edge.samples.world.labels import Label
from lightning_edge.samples.world.panels import Shape
from lightning_edge.samples.world.scene import Footprint, Motion, SceneBuilder
from lightning_edge.samples.world.street import Crossing, Profile, Street, near_crossing

SIDES = (1, -1)
Generator = np.random.Generator


def add_parked(
    builder: SceneBuilder,
    rng: Generator,
    street: Street,
    profile: Profile,
    side: int,
    crossings: list[Crossing],
    district: District,
) -> None:
    """Cars at the kerb, bicycles and a few motorcycles on the pavement."""
    width = profile.parking_left_m if side > 0 else profile.parking_right_m
    occupancy, at = rng.uniform(*district.parked_share), street.start_m
    while at < street.end_m and width:
        if rng.random() < occupancy and not near_crossing(at, crossings, 7):
            d = side * (profile.lanes_edge_m + 1.05 + rng.normal(0, 0.08))
            turn = (0.0 if side < 0 else np.pi) + rng.normal(0, 0.02)
            _add_vehicle(builder, rng, at, d, turn, Motion(), p_large=0.012)
        at += rng.uniform(5.3, 6.4)
    for s in rng.uniform(street.start_m, street.end_m, int(rng.integers(1, district.parked_cycles + 1))):
        turn = rng.choice([0.0, np.pi / 2]) + rng.normal(0, 0.2)
        two_wheeler = (
            (vehicles.bicycle, Label.BICYCLE) if rng.random() < 0.92 else (vehicles.motorcycle, Label.MOTORCYCLE)
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
    elif kind < 2 * p_large and motion != Motion():
        builder.add(
            vehicles.bus(rng), s, d, turn, footprint=Footprint(5.8, 1.25, 0.2, 3.0), motion=motion, thing=Label.BUS
        )
    else:
        builder.add(
            vehicles.car(rng), s, d, turn, footprint=Footprint(2.1, 0.85, 0.15, 1.3), motion=motion, thing=Label.CAR
        )


def add_people(
    builder: SceneBuilder, rng: Generator, street: Street, profile: Profile, side: int, district: District
) -> None:
    """People on the pavement, walking at 1.34 m/s on average with a deviation of 0.26 m/s (Weidmann 1993)."""
    length = street.end_m - street.start_m
    groups = rng.poisson(length / 100 * rng.uniform(*district.people_per_100_m))
    kerb, end = profile.kerb_m(side), profile.pavement_end_m(side)
    for s in rng.uniform(street.start_m, street.end_m, groups):
        d = side * rng.uniform(kerb + 0.5, end - 0.3)
        is_walking = rng.random() < 0.8
        way = float(rng.choice([-1, 1]))
        speed = way * float(np.clip(rng.normal(1.34, 0.26), 0.6, 2.2)) if is_walking else 0.0
        for index in range(1 + int(rng.geometric(0.6) - 1)):
            turn = (0.0 if way > 0 else np.pi) if is_walking else rng.uniform(0, 2 * np.pi)
            add_pedestrian(builder, rng, s + rng.normal(0, 0.15), d + 0.65 * index * side, turn, Motion(speed))


def add_pedestrian(builder: SceneBuilder, rng: Generator, s: float, d: float, turn: float, motion: Motion) -> None:
    """One person, walking unless the motion is none."""
    is_walking = motion != Motion()
    builder.add(people.pedestrian(rng, is_walking), s, d, turn, footprint=Footprint(0.2, 0.25, 0, 1.7), motion=motion,
                thing=Label.PERSON)  # fmt: skip


def add_traffic(
    builder: SceneBuilder, rng: Generator, street: Street, profile: Profile, ego_lane: int, district: District
) -> None:
    """Cars ahead in the same direction, cars that come the other way."""
    busy = rng.uniform(*district.traffic)
    for lane in range(profile.lanes):
        d = -profile.lane_m * (lane + 0.5)
        at = rng.uniform(*district.nearest_car_m) if lane == ego_lane else rng.uniform(-5, 25)
        while at < street.end_m - 20:
            if rng.random() < busy:
                drift = rng.uniform(-0.5, 1.5) if at > 14 else rng.uniform(0.0, 1.0)
                motion = Motion(drift, follows_ego=True)
                _add_vehicle(
                    builder, rng, at, d + rng.normal(0, 0.15), rng.normal(0, 0.01), motion, p_large=district.large_share
                )
            at += rng.uniform(14, 45)
        at = rng.uniform(5, 40)
        while at < street.end_m + 60:
            if rng.random() < busy:
                motion = Motion(-rng.uniform(5, 13))
                _add_vehicle(builder, rng, at, -d + rng.normal(0, 0.15), np.pi, motion, p_large=district.large_share)
            at += rng.uniform(16, 60)


def add_riders(builder: SceneBuilder, rng: Generator, street: Street, profile: Profile, district: District) -> None:
    """Cyclists near the right edge of the lanes, at 4.5 m/s on average, a few on motorcycles."""
    for _ in range(rng.poisson(district.riders)):
        is_motorised = rng.random() < 0.14
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
