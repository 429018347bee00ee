"""Sample data in the layout of BDD100K: both formats of labels, and boxes that hold what they say."""

import json
import re
from collections import Counter

import cv2
import numpy as np
import pytest

from lightning_edge.samples.bdd100k import LIGHT_AND_WEATHER, sample_bdd100k
from lightning_edge.samples.bdd100k_labels import (
    LEAST_SURE_VISIBLE,
    LEAST_UNOCCLUDED,
    LEAST_VISIBLE,
    SMALLEST_PX,
    SMALLEST_SURE_PX,
    box_labels,
    old_labels,
)
from lightning_edge.samples.world.camera import bdd100k_camera
from lightning_edge.samples.world.district import CITY, SUBURB
from lightning_edge.samples.world.frames import Box, Frame, render_snippet
from lightning_edge.samples.world.labels import Label

HEIGHT, WIDTH = 72, 128
BOX_CLASSES = {
    "pedestrian": Label.PERSON, "rider": Label.RIDER, "car": Label.CAR, "truck": Label.TRUCK, "bus": Label.BUS,
    "motorcycle": Label.MOTORCYCLE, "bicycle": Label.BICYCLE, "traffic light": Label.TRAFFIC_LIGHT,
    "traffic sign": Label.TRAFFIC_SIGN,
}  # fmt: skip


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LIGHTNING_EDGE_CACHE", str(tmp_path_factory.mktemp("samples")))
        yield sample_bdd100k(20, 4, HEIGHT, WIDTH)


def read(root, place):
    return json.loads((root / place).read_text())


def frame_with(boxes=(), mask=None, size=(40, 60)):
    mask = np.full(size, Label.SKY, np.uint8) if mask is None else mask
    nothing = np.zeros(size, np.float32)
    image, flow = np.zeros((*size, 3), np.uint8), np.zeros((*size, 2), np.float32)
    return Frame(0.0, image, mask, mask.astype(np.int32), tuple(boxes), flow, nothing > 0, nothing)


def thing(label, box, visible=1.0):
    return Box(box, int(label), 1000 * label, visible)


@pytest.mark.parametrize(("split", "count"), [("train", 20), ("val", 4)])
def test_layout(root, split, count):
    images = sorted((root / "images/100k" / split).iterdir())
    assert all(re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{8}\.jpg", path.name) for path in images)
    frames = read(root, f"labels/det_20/det_{split}.json")
    assert [frame["name"] for frame in frames] == [path.name for path in images]
    assert len(images) == count
    assert cv2.imread(str(images[0])).shape == (HEIGHT, WIDTH, 3)
    assert {path.name for path in root.iterdir()} == {"images", "labels", ".files.json"}


def test_domains_and_scenes_are_even_and_mixed(root):
    attributes = [frame["attributes"] for frame in read(root, "labels/det_20/det_train.json")]
    domains = [(values["timeofday"], values["weather"]) for values in attributes]
    assert Counter(domains) == dict.fromkeys(LIGHT_AND_WEATHER.values(), 4)
    assert Counter(values["scene"] for values in attributes) == {"city street": 10, "residential": 10}
    both = Counter((*domain, values["scene"]) for domain, values in zip(domains, attributes, strict=True))
    assert set(both.values()) == {2}
    assert domains[:5] != list(LIGHT_AND_WEATHER.values())


@pytest.mark.parametrize("split", ["train", "val"])
def test_both_formats_say_the_same(root, split):
    new, old = (read(root, f"labels/{name}_{split}.json") for name in ("det_20/det", "bdd100k_labels_images"))
    names = {"person": "pedestrian", "bike": "bicycle", "motor": "motorcycle"}
    for frame, other in zip(new, old, strict=True):
        assert {key: frame[key] for key in frame if key != "labels"} == {
            key: other[key] for key in other if key != "labels"
        }
        boxed = [label for label in other["labels"] if "box2d" in label]
        assert [(label["category"], label["box2d"]) for label in frame["labels"]] == [
            (names.get(label["category"], label["category"]), label["box2d"]) for label in boxed
        ]
        assert not {"pedestrian", "bicycle", "motorcycle"} & {label["category"] for label in boxed}
        assert all(label["manualShape"] and label["manualAttributes"] for label in other["labels"])
        (area,) = (label for label in other["labels"] if "box2d" not in label)
        assert area["category"] == "drivable area"


def test_a_frame_has_the_fields_of_the_real_ones(root):
    frame = next(frame for frame in read(root, "labels/det_20/det_val.json") if frame["labels"])
    assert frame.keys() == {"name", "attributes", "timestamp", "labels"}
    assert frame["timestamp"] == 10_000
    label = frame["labels"][0]
    assert label.keys() == {"id", "attributes", "category", "box2d"}
    assert label["attributes"].keys() == {"occluded", "truncated", "trafficLightColor"}
    assert label["box2d"].keys() == {"x1", "y1", "x2", "y2"}


@pytest.mark.parametrize("domain", LIGHT_AND_WEATHER)
@pytest.mark.parametrize("district", [CITY, SUBURB], ids=["city", "suburb"])
def test_boxes_hold_pixels_of_their_class_on_each_side(domain, district):
    camera = bdd100k_camera(144, 256)
    frame = next(render_snippet(5, 1, domain=domain, camera=camera, district=district))
    labels = box_labels(frame)
    assert len(labels) > 5
    for label in labels:
        if label["category"] not in BOX_CLASSES:
            continue
        x1, y1, x2, y2 = (int(label["box2d"][side]) for side in ("x1", "y1", "x2", "y2"))
        inside = frame.mask[y1:y2, x1:x2] == BOX_CLASSES[label["category"]]
        assert inside.shape == (y2 - y1, x2 - x1)
        assert inside[0].any()
        assert inside[-1].any()
        assert inside[:, 0].any()
        assert inside[:, -1].any()


def test_what_is_small_or_hidden_is_left_out_or_ignored():
    cases = {
        ((10, 10, 10 + SMALLEST_PX - 1, 30), 1.0): None,
        ((10, 10, 30, 10 + SMALLEST_PX - 1), 1.0): None,
        ((10, 10, 30, 30), LEAST_VISIBLE - 0.01): None,
        ((10, 10, 10 + SMALLEST_PX, 30), 1.0): "other",
        ((10, 10, 10 + SMALLEST_SURE_PX - 1, 30), 1.0): "other",
        ((10, 10, 30, 30), LEAST_SURE_VISIBLE - 0.01): "other",
        ((10, 10, 10 + SMALLEST_SURE_PX, 30), LEAST_SURE_VISIBLE): "sure",
    }
    names = {Label.PERSON: ("pedestrian", "other person"), Label.RIDER: ("rider", "other person")}
    names |= {Label.BICYCLE: ("bicycle", "other vehicle"), Label.TRUCK: ("truck", "other vehicle")}
    for (box, visible), expected in cases.items():
        for label, (sure, other) in names.items():
            actual = [made["category"] for made in box_labels(frame_with([thing(label, box, visible)]))]
            assert actual == {None: [], "other": [other], "sure": [sure]}[expected]


def test_occluded_and_truncated():
    boxes = [((0, 5, 20, 30), 1.0), ((5, 0, 20, 30), 1.0), ((5, 5, 60, 30), 1.0), ((5, 5, 20, 40), 1.0)]
    boxes += [((1, 1, 59, 39), LEAST_UNOCCLUDED), ((1, 1, 59, 39), LEAST_UNOCCLUDED - 0.01)]
    labels = box_labels(frame_with([thing(Label.CAR, *box) for box in boxes]))
    assert [label["attributes"]["truncated"] for label in labels] == [True] * 4 + [False] * 2
    assert [label["attributes"]["occluded"] for label in labels] == [False] * 5 + [True]
    assert [label["id"] for label in labels] == ["0", "1", "2", "3", "4", "5"]


def test_lights_and_signs_are_connected_pixels():
    mask = np.full((40, 60), Label.BUILDING, np.uint8)
    mask[2:10, 4:8] = Label.TRAFFIC_LIGHT
    mask[20:24, 30:36] = Label.TRAFFIC_SIGN
    mask[24:26, 36:38] = Label.TRAFFIC_SIGN  # touches at a corner
    mask[20:22, 50:59] = Label.TRAFFIC_SIGN  # too low
    labels = box_labels(frame_with(mask=mask))
    assert [(label["category"], list(label["box2d"].values())) for label in labels] == [
        ("traffic light", [4, 2, 8, 10]),
        ("traffic sign", [30, 20, 38, 26]),
    ]


def test_the_drivable_area_is_road():
    mask = np.full((40, 60), Label.SKY, np.uint8)
    mask[20:, 10:50] = Label.ROAD
    frame = frame_with(mask=mask)
    (area,) = old_labels([], frame)
    vertices = np.array(area["poly2d"][0]["vertices"])
    assert len(area["poly2d"][0]["types"]) == len(vertices) >= 4
    assert vertices.min(0).tolist() == [10, 20]
    assert vertices.max(0).tolist() == [49, 39]
    assert old_labels([], frame_with()) == []


def test_more_images_leave_the_first_as_they_are(root, tmp_path, monkeypatch):
    monkeypatch.setenv("LIGHTNING_EDGE_CACHE", str(tmp_path))
    few = sample_bdd100k(2, 1, HEIGHT, WIDTH)
    of_many = {frame["name"]: frame for frame in read(root, "labels/det_20/det_train.json")}
    for frame in read(few, "labels/det_20/det_train.json"):
        assert frame == of_many[frame["name"]]
        place = f"images/100k/train/{frame['name']}"
        assert (few / place).read_bytes() == (root / place).read_bytes()


def test_splits_and_seeds_share_no_image(root, tmp_path, monkeypatch):
    monkeypatch.setenv("LIGHTNING_EDGE_CACHE", str(tmp_path))
    other = sample_bdd100k(2, 1, HEIGHT, WIDTH, seed=1)
    files = [path for made in (root, other) for path in made.glob("images/100k/*/*.jpg")]
    assert len({path.name for path in files}) == len(files) == 27
    assert len({path.read_bytes() for path in files}) == len(files)


def test_nothing_is_printed_and_some_domains_suffice(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("LIGHTNING_EDGE_CACHE", str(tmp_path))
    root = sample_bdd100k(4, 1, 32, 32, domains=("night", "fog"))
    attributes = [frame["attributes"] for frame in read(root, "labels/det_20/det_train.json")]
    assert {(values["timeofday"], values["weather"], values["scene"]) for values in attributes} == {
        (*light_and_weather, scene)
        for light_and_weather in (("night", "clear"), ("daytime", "foggy"))
        for scene in ("city street", "residential")
    }
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_train": 0}, "expected num_train of at least 1, got 0"),
        ({"height": 16}, "expected height of at least 32, got 16"),
        ({"seed": -1}, "expected seed of at least 0, got -1"),
        ({"domains": ()}, r"expected domains among \['day', 'dusk', 'night', 'rain', 'fog'\], got \[\]"),
        ({"domains": ("day", "plain")}, r"expected domains among .*, got \['day', 'plain'\]"),
    ],
)
def test_bad_arguments_write_nothing(tmp_path, monkeypatch, arguments, message):
    monkeypatch.setenv("LIGHTNING_EDGE_CACHE", str(tmp_path))
    with pytest.raises(ValueError, match=message):
        sample_bdd100k(**arguments)
    assert not list(tmp_path.iterdir())
