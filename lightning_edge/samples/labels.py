"""The classes of the sample world, named and numbered as in Cityscapes.

Source: the label table of the Cityscapes scripts (``cityscapesscripts/helpers/labels.py``), which
``lightning_edge.ops.cityscapes_labels`` holds in full; here stand the rows that the world draws.
"""

from enum import IntEnum

import numpy as np


class Label(IntEnum):
    """Cityscapes ``labelIds`` of what the sample world contains."""

    EGO_VEHICLE = 1
    STATIC = 4
    ROAD = 7
    SIDEWALK = 8
    BUILDING = 11
    WALL = 12
    FENCE = 13
    POLE = 17
    TRAFFIC_LIGHT = 19
    TRAFFIC_SIGN = 20
    VEGETATION = 21
    TERRAIN = 22
    SKY = 23
    PERSON = 24
    RIDER = 25
    CAR = 26
    TRUCK = 27
    BUS = 28
    MOTORCYCLE = 32
    BICYCLE = 33


THINGS = frozenset(
    {Label.PERSON, Label.RIDER, Label.CAR, Label.TRUCK, Label.BUS, Label.MOTORCYCLE, Label.BICYCLE},
)
"""Classes whose objects are counted one by one."""

COLOURS: dict[Label, tuple[int, int, int]] = {
    Label.EGO_VEHICLE: (0, 0, 0),
    Label.STATIC: (0, 0, 0),
    Label.ROAD: (128, 64, 128),
    Label.SIDEWALK: (244, 35, 232),
    Label.BUILDING: (70, 70, 70),
    Label.WALL: (102, 102, 156),
    Label.FENCE: (190, 153, 153),
    Label.POLE: (153, 153, 153),
    Label.TRAFFIC_LIGHT: (250, 170, 30),
    Label.TRAFFIC_SIGN: (220, 220, 0),
    Label.VEGETATION: (107, 142, 35),
    Label.TERRAIN: (152, 251, 152),
    Label.SKY: (70, 130, 180),
    Label.PERSON: (220, 20, 60),
    Label.RIDER: (255, 0, 0),
    Label.CAR: (0, 0, 142),
    Label.TRUCK: (0, 0, 70),
    Label.BUS: (0, 60, 100),
    Label.MOTORCYCLE: (0, 0, 230),
    Label.BICYCLE: (119, 11, 32),
}
"""Colours of the official ``gtFine_color`` images, RGB."""


def palette() -> np.ndarray:
    """Colour of every ``labelId``: uint8 ``[256, 3]``, RGB, black where the world has no such class."""
    table = np.zeros((256, 3), np.uint8)
    for label, colour in COLOURS.items():
        table[label] = colour
    return table
