"""The official label table of Cityscapes.

Source: ``cityscapesscripts/helpers/labels.py``. Only the train ids 0 to 18 are used for training and evaluation. The
license plate, id -1, never occurs in a mask and is left out.
"""

from typing import NamedTuple

from lightning_edge.contracts import IGNORE_INDEX


class CityscapesLabel(NamedTuple):
    """One row: the id in ``*_gtFine_labelIds.png``, the class for training (255: ignored) and the RGB color."""

    name: str
    label_id: int
    train_id: int
    color: tuple[int, int, int]


LABELS = (
    CityscapesLabel("unlabeled", 0, IGNORE_INDEX, (0, 0, 0)),
    CityscapesLabel("ego vehicle", 1, IGNORE_INDEX, (0, 0, 0)),
    CityscapesLabel("rectification border", 2, IGNORE_INDEX, (0, 0, 0)),
    CityscapesLabel("out of roi", 3, IGNORE_INDEX, (0, 0, 0)),
    CityscapesLabel("static", 4, IGNORE_INDEX, (0, 0, 0)),
    CityscapesLabel("dynamic", 5, IGNORE_INDEX, (111, 74, 0)),
    CityscapesLabel("ground", 6, IGNORE_INDEX, (81, 0, 81)),
    CityscapesLabel("road", 7, 0, (128, 64, 128)),
    CityscapesLabel("sidewalk", 8, 1, (244, 35, 232)),
    CityscapesLabel("parking", 9, IGNORE_INDEX, (250, 170, 160)),
    CityscapesLabel("rail track", 10, IGNORE_INDEX, (230, 150, 140)),
    CityscapesLabel("building", 11, 2, (70, 70, 70)),
    CityscapesLabel("wall", 12, 3, (102, 102, 156)),
    CityscapesLabel("fence", 13, 4, (190, 153, 153)),
    CityscapesLabel("guard rail", 14, IGNORE_INDEX, (180, 165, 180)),
    CityscapesLabel("bridge", 15, IGNORE_INDEX, (150, 100, 100)),
    CityscapesLabel("tunnel", 16, IGNORE_INDEX, (150, 120, 90)),
    CityscapesLabel("pole", 17, 5, (153, 153, 153)),
    CityscapesLabel("polegroup", 18, IGNORE_INDEX, (153, 153, 153)),
    CityscapesLabel("traffic light", 19, 6, (250, 170, 30)),
    CityscapesLabel("traffic sign", 20, 7, (220, 220, 0)),
    CityscapesLabel("vegetation", 21, 8, (107, 142, 35)),
    CityscapesLabel("terrain", 22, 9, (152, 251, 152)),
    CityscapesLabel("sky", 23, 10, (70, 130, 180)),
    CityscapesLabel("person", 24, 11, (220, 20, 60)),
    CityscapesLabel("rider", 25, 12, (255, 0, 0)),
    CityscapesLabel("car", 26, 13, (0, 0, 142)),
    CityscapesLabel("truck", 27, 14, (0, 0, 70)),
    CityscapesLabel("bus", 28, 15, (0, 60, 100)),
    CityscapesLabel("caravan", 29, IGNORE_INDEX, (0, 0, 90)),
    CityscapesLabel("trailer", 30, IGNORE_INDEX, (0, 0, 110)),
    CityscapesLabel("train", 31, 16, (0, 80, 100)),
    CityscapesLabel("motorcycle", 32, 17, (0, 0, 230)),
    CityscapesLabel("bicycle", 33, 18, (119, 11, 32)),
)
"""All ids that masks can contain."""

TRAIN_LABELS = tuple(label for label in LABELS if label.train_id != IGNORE_INDEX)
"""The 19 classes in the order of their train ids."""
