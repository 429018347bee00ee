"""Kinds of towns: how densely and how high a street is built up, and how busy it is.

The numbers were tuned until the pixel shares of the classes met those of real data sets
(``docs/decisions/0002-sample-world.md``).
"""

from dataclasses import dataclass

Range = tuple[float, float]


@dataclass(frozen=True)
class District:
    """Settings of one kind of street. Each street draws its own values from the ranges.

    Attributes:
        storeys: Number of storeys of a street's houses. A single house differs by one.
        house_share: Share of the plots that are built up.
        pavement_m: Width of a pavement.
        setback_chance: Probability of front gardens.
        boundary_chance: Probability that a front garden has a fence, a wall or a hedge.
        fence_share: Share of fences among these boundaries.
        wall_share: Share of walls among these boundaries.
        avenue_chance: Probability of a row of trees on a side.
        lamp_spacing_m: Distance between street lamps.
        sign_spacing_m: Distance between signs.
        board_share: Share of big boards among signs.
        signal_chance: Probability of traffic lights at a crossing.
        parked_share: Share of parking places that are occupied.
        traffic: Share of the places in a lane that are occupied.
        nearest_car_m: Smallest gap to the car ahead at the start.
        large_share: Share of trucks and buses in traffic.
        people_per_100_m: Number of groups on a pavement.
        riders: Mean number of cyclists and motorcyclists.
        parked_cycles: Largest number of bicycles on a pavement.
    """

    storeys: tuple[int, int]
    house_share: Range
    pavement_m: Range
    setback_chance: float
    boundary_chance: float
    fence_share: float
    wall_share: float
    avenue_chance: float
    lamp_spacing_m: Range
    sign_spacing_m: Range
    board_share: float
    signal_chance: float
    parked_share: Range
    traffic: Range
    nearest_car_m: Range
    large_share: float
    people_per_100_m: Range
    riders: float
    parked_cycles: int


CITY = District(
    storeys=(4, 8), house_share=(0.7, 1.0), pavement_m=(2.8, 6.0), setback_chance=0.6, boundary_chance=0.9,
    fence_share=0.55, wall_share=0.36, avenue_chance=0.88, lamp_spacing_m=(28, 44), sign_spacing_m=(26, 48),
    board_share=0.1, signal_chance=0.95, parked_share=(0.1, 0.55), traffic=(0.08, 0.55), nearest_car_m=(10, 40),
    large_share=0.03, people_per_100_m=(1.5, 10.0), riders=1.1, parked_cycles=28,
)  # fmt: skip
"""Inner cities as in Cityscapes."""

SUBURB = District(
    storeys=(2, 5), house_share=(0.55, 0.95), pavement_m=(1.8, 3.6), setback_chance=0.6, boundary_chance=0.8,
    fence_share=0.68, wall_share=0.15, avenue_chance=0.75, lamp_spacing_m=(40, 60), sign_spacing_m=(14, 28),
    board_share=0.2, signal_chance=0.7, parked_share=(0.2, 0.7), traffic=(0.1, 0.7), nearest_car_m=(9, 35),
    large_share=0.03, people_per_100_m=(0.8, 6.0), riders=0.8, parked_cycles=3,
)  # fmt: skip
"""Lower and greener streets as in CamVid, which was filmed in Cambridge."""
