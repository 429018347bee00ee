"""The classes of the sample world, named and numbered as in Cityscapes.

Source: the label table of the Cityscapes scripts (``cityscapesscripts/helpers/labels.py``), which
``lightning_edge.ops.cityscapes_labels`` holds in full; here stand the rows that the world draws.
"""

from enum import IntEnum

import numpy as np

from lightning_edge.ops.cityscapes_labels import LABELS


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


def palette() -> np.ndarray:
    """Color of every ``labelId`` in ``gtFine_color`` images: uint8 ``[256, 3]``, RGB, black where there is none."""
    table = np.zeros((256, 3), np.uint8)
    for label in LABELS:
        table[label.label_id] = label.color
    return table
