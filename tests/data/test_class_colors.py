"""Colors of the data sets: official ones, and none of them alike."""

import numpy as np
import pytest
from cityscapesscripts.helpers.labels import labels as official
from color_distance import nearest_pair
from settings import make_camvid, make_cityscapes

from lightning_edge.data import (
    BDD100KDataModule,
    CamVidDataModule,
    CamVidVideoDataModule,
    CityscapesDataModule,
    CityscapesVideoDataModule,
)

CAMVID = {  # SegNet's, https://github.com/alexgkendall/SegNet-Tutorial, Scripts/test_segmentation_camvid.py
    "sky": (128, 128, 128),
    "building": (128, 0, 0),
    "pole": (192, 192, 128),
    "road": (128, 64, 128),
    "pavement": (60, 40, 222),
    "tree": (128, 128, 0),
    "sign symbol": (192, 128, 128),
    "fence": (64, 64, 128),
    "car": (64, 0, 128),
    "pedestrian": (64, 64, 0),
    "bicyclist": (0, 128, 192),
}
CITYSCAPES = {label.name: label.color for label in official if 0 <= label.trainId < 255}


@pytest.mark.parametrize(
    ("kind", "colors", "least"),
    [
        (CityscapesDataModule, CITYSCAPES, 14),  # pole and fence
        (CityscapesVideoDataModule, CITYSCAPES, 14),
        (CamVidDataModule, CAMVID, 23),  # road and fence
        (CamVidVideoDataModule, CAMVID, 23),
        (BDD100KDataModule, {name.replace("person", "pedestrian"): color for name, color in CITYSCAPES.items()}, 17),
    ],
)
def test_each_class_has_its_official_color_and_no_two_look_alike(kind, colors, least):
    assert dict(zip(kind.class_names, kind.palette, strict=True)) == {name: colors[name] for name in kind.class_names}
    distance, *pair = nearest_pair(kind.palette, kind.class_names)
    assert distance > least, pair


@pytest.mark.parametrize("make", [make_cityscapes, make_camvid])
def test_sky_and_car_differ_also_when_laid_over_the_samples(make):
    data = make()
    data.prepare_data()
    data.setup("validate")
    means = []
    for label in map(data.class_names.index, ("sky", "car")):
        pixels = [sample["image"].movedim(0, -1)[sample["mask"] == label] for sample in data.dataset("val")]
        means.append(0.5 * np.concatenate(pixels).mean(0) + 0.5 * np.array(data.palette[label]))
    assert nearest_pair(means, "ab")[0] > 40
