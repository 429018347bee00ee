"""The label table of Cityscapes.

Source: the official scripts of the data set (``cityscapesscripts/helpers/labels.py``, Cordts et al., CVPR 2016). A
pixel of a ``gtFine_labelIds`` image holds a ``labelId``; training and scores use the 19 classes that have a
``train_id``.
"""

from typing import NamedTuple

import numpy as np

IGNORE_TRAIN_ID = 255
"""``train_id`` of all classes that count neither in training nor in a score."""


class CityscapesLabel(NamedTuple):
    """A row of the table; ``has_instances`` classes are counted one by one; colours are RGB."""

    name: str
    label_id: int
    train_id: int
    has_instances: bool
    colour: tuple[int, int, int]


LABELS: tuple[CityscapesLabel, ...] = (
    CityscapesLabel("unlabeled", 0, 255, False, (0, 0, 0)),
    CityscapesLabel("ego vehicle", 1, 255, False, (0, 0, 0)),
    CityscapesLabel("rectification border", 2, 255, False, (0, 0, 0)),
    CityscapesLabel("out of roi", 3, 255, False, (0, 0, 0)),
    CityscapesLabel("static", 4, 255, False, (0, 0, 0)),
    CityscapesLabel("dynamic", 5, 255, False, (111, 74, 0)),
    CityscapesLabel("ground", 6, 255, False, (81, 0, 81)),
    CityscapesLabel("road", 7, 0, False, (128, 64, 128)),
    CityscapesLabel("sidewalk", 8, 1, False, (244, 35, 232)),
    CityscapesLabel("parking", 9, 255, False, (250, 170, 160)),
    CityscapesLabel("rail track", 10, 255, False, (230, 150, 140)),
    CityscapesLabel("building", 11, 2, False, (70, 70, 70)),
    CityscapesLabel("wall", 12, 3, False, (102, 102, 156)),
    CityscapesLabel("fence", 13, 4, False, (190, 153, 153)),
    CityscapesLabel("guard rail", 14, 255, False, (180, 165, 180)),
    CityscapesLabel("bridge", 15, 255, False, (150, 100, 100)),
    CityscapesLabel("tunnel", 16, 255, False, (150, 120, 90)),
    CityscapesLabel("pole", 17, 5, False, (153, 153, 153)),
    CityscapesLabel("polegroup", 18, 255, False, (153, 153, 153)),
    CityscapesLabel("traffic light", 19, 6, False, (250, 170, 30)),
    CityscapesLabel("traffic sign", 20, 7, False, (220, 220, 0)),
    CityscapesLabel("vegetation", 21, 8, False, (107, 142, 35)),
    CityscapesLabel("terrain", 22, 9, False, (152, 251, 152)),
    CityscapesLabel("sky", 23, 10, False, (70, 130, 180)),
    CityscapesLabel("person", 24, 11, True, (220, 20, 60)),
    CityscapesLabel("rider", 25, 12, True, (255, 0, 0)),
    CityscapesLabel("car", 26, 13, True, (0, 0, 142)),
    CityscapesLabel("truck", 27, 14, True, (0, 0, 70)),
    CityscapesLabel("bus", 28, 15, True, (0, 60, 100)),
    CityscapesLabel("caravan", 29, 255, True, (0, 0, 90)),
    CityscapesLabel("trailer", 30, 255, True, (0, 0, 110)),
    CityscapesLabel("train", 31, 16, True, (0, 80, 100)),
    CityscapesLabel("motorcycle", 32, 17, True, (0, 0, 230)),
    CityscapesLabel("bicycle", 33, 18, True, (119, 11, 32)),
)
"""All rows whose ``labelId`` is not negative (-1, the licence plate, occurs in no label image), by ``labelId``."""

TRAIN_CLASSES: tuple[str, ...] = tuple(label.name for label in LABELS if label.train_id != IGNORE_TRAIN_ID)
"""Names of the 19 classes in the order of their ``train_id``."""


def train_id_table() -> np.ndarray:
    """``train_id`` of every value that a label image can hold: uint8 ``[256]``."""
    table = np.full(256, IGNORE_TRAIN_ID, np.uint8)
    for label in LABELS:
        table[label.label_id] = label.train_id
    return table


def colour_table() -> np.ndarray:
    """Colour of every value that a label image can hold: uint8 ``[256, 3]``, RGB."""
    table = np.zeros((256, 3), np.uint8)
    for label in LABELS:
        table[label.label_id] = label.colour
    return table
