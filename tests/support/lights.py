"""A few images whose domain is their light, and features of them."""

import numpy as np

from lightning_edge.data import ByAttributes
from lightning_edge.data.domains.features import write_features
from lightning_edge.data.domains.partitions import ImageRecord

VOCABULARY = {"light": ("day", "dusk", "night")}
PARTITION = ByAttributes(("light",))
TRAIN = ["day", "night", "day", "night", "night"]
VAL = ["night", "day", "dusk"]
FEATURES = {
    "train": np.array([[0, 0], [8, 8], [2, 0], [10, 8], [9, 11]], np.float32),
    "val": np.array([[2, 1], [0, 1], [9, 9]], np.float32),
}


def records(lights, split):
    return [ImageRecord(f"{split}{number}", {"light": light}) for number, light in enumerate(lights)]


def assigned(split, lights):
    return PARTITION.assign(split, records(lights, split), VOCABULARY)


OF_TRAINING, OF_VAL = assigned("train", TRAIN), assigned("val", VAL)


def write(path):
    """Write the features of all images."""
    names = {"train": [image.name for image in OF_TRAINING.images], "val": [image.name for image in OF_VAL.images]}
    write_features(path, {split: (names[split], FEATURES[split]) for split in ("train", "val")})
    return path
