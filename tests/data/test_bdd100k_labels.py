"""Label files of BDD100K: what is read of them, and those that are not what they should be."""

import warnings

import pytest
from bdd100k_files import boxed, frame, write

from lightning_edge.data.bdd100k_labels import read_labels


def read(root, frames):
    write(root, frames, images=False)
    return read_labels(root / "labels/det_20/det_train.json")


def test_every_category_and_its_class(tmp_path):
    expected = {
        "pedestrian": 0, "person": 0, "rider": 1, "car": 2, "caravan": 2, "van": 2, "truck": 3, "bus": 4, "train": 5,
        "motorcycle": 6, "motor": 6, "bicycle": 7, "bike": 7, "traffic light": 8, "traffic sign": 9,
    }  # fmt: skip
    ignored = {"other person": 0, "other vehicle": 2, "trailer": 3}
    (only,) = read(tmp_path, [frame("a", [boxed(1, 2, 9, 8, category) for category in expected | ignored])])
    assert only.label.tolist() == list(expected.values())
    assert only.ignored_label.tolist() == list(ignored.values())
    assert only.ignored_xyxy.tolist() == [[1, 2, 9, 8]] * 3


def test_crowds_are_ignored(tmp_path):
    crowd, single = (boxed(1, 2, 9, 8, "pedestrian", attributes={"crowd": crowd}) for crowd in (True, False))
    (only,) = read(tmp_path, [frame("a", [crowd, single])])
    assert (only.label.tolist(), only.ignored_label.tolist()) == ([0], [0])


def test_labels_without_a_box_are_passed_over(tmp_path):
    lane = {"id": 1, "category": "lane/single white", "poly2d": [], "attributes": {}}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (only,) = read(tmp_path, [frame("a", [lane, boxed(1, 2, 9, 8), lane | {"box2d": None}])])
    assert only.label.tolist() == [2]


def test_frames_may_stand_in_a_dict(tmp_path):
    (only,) = read(tmp_path, {"frames": [frame("a", [boxed(1, 2, 9, 8)])], "config": None})
    assert only.name == "a.jpg"


def test_attributes_that_are_missing_are_undefined(tmp_path):
    frames = [frame("a"), frame("b") | {"attributes": None}, {"name": "c.jpg"}, frame("d", weather=None)]
    frames[0]["attributes"].pop("scene")
    found = [item.attributes for item in read(tmp_path, frames)]
    assert found[0] == {"timeofday": "daytime", "weather": "clear", "scene": "undefined"}
    assert set(found[1].values()) == set(found[2].values()) == {"undefined"}
    assert found[3]["weather"] == "undefined"


def test_boxes_that_are_none_are_left_out_and_told_of_once(tmp_path):
    misspelt = boxed(1, 2, 9, 8, id="misspelt")
    misspelt["box2d"]["x5"] = misspelt["box2d"].pop("x2")
    faulty = [misspelt, boxed(1, 2, "wide", 8), boxed(1, 2, float("nan"), 8), boxed(1, 2, 9, 8, box2d=[1, 2, 9, 8])]
    faulty += [boxed(9, 2, 1, 8, id="turned"), boxed(1, 2, 1, 8), boxed(1, 8, 9, 8, "trailer")]
    with pytest.warns(UserWarning, match="left out") as caught:
        first, second = read(tmp_path, [frame("a", [boxed(1, 2, 9, 8)]), frame("b", faulty)])
    (warning,) = caught
    assert str(warning.message) == (
        f"{tmp_path}/labels/det_20/det_train.json: boxes are left out: 4 that are not four numbers, the first is label "
        "misspelt of b.jpg; 3 that have no area, the first is label turned of b.jpg"
    )
    assert (len(first.label), len(second.label), len(second.ignored_label)) == (1, 0, 0)


FAULTS = {
    "cut short": (
        '[\n{"name": "a.jpg",\n "labels": [',
        r"expected JSON, got a fault in line 3, column 13: Expecting value; .* cut short",
    ),
    "empty": ("", "expected JSON, got a fault in line 1, column 1"),
    "a number": ("3", "expected a list of frames, or a dict with them as 'frames', got 3"),
    "another dict": ('{"images": []}', r"expected a list of frames, .* got \{'images': \[\]\}"),
    "no name": ([frame("a"), {"labels": []}], r"expected frame 1 as a dict with a 'name', got \{'labels': \[\]\}"),
    "no dict": ([[]], r"expected frame 0 as a dict with a 'name', got \[\]"),
    "labels": ([frame("a") | {"labels": {"car": 1}}], r"expected labels of a.jpg as a list of dicts, got \{'car': 1\}"),
    "label": ([frame("a", ["car"])], r"expected labels of a.jpg as a list of dicts, got \['car'\]"),
    "attributes": ([frame("a") | {"attributes": [1]}], r"expected attributes of a.jpg as a dict, got \[1\]"),
    "a value": (
        [frame("a", weather="hail")],
        r"expected weather of a.jpg among \('clear', .*'undefined'\), got 'hail'",
    ),
    "a category": (
        [frame("a", [boxed(1, 2, 9, 8, "tram")])],
        r"expected a category among \['bicycle', .*, got 'tram' for label 7 of a.jpg",
    ),
    "no category": ([frame("a", [boxed(1, 2, 9, 8, ["car"])])], r"expected a category among .*, got \['car'\]"),
    "twice": ([frame("a"), frame("b"), frame("a")], "expected each image once, got a.jpg twice"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_file_is_named(fault, tmp_path):
    content, message = FAULTS[fault]
    with pytest.raises(ValueError, match=rf"det_train.json: {message}"):
        read(tmp_path, content)


def test_bytes_that_are_no_text_are_named(tmp_path):
    path = tmp_path / "det_train.json"
    path.write_bytes(b'["\xff\xfe"]')
    with pytest.raises(ValueError, match=r"det_train\.json: expected JSON, got no text"):
        read_labels(path)
