"""Label files of BDD100K: what is read of them, and those that are not what they should be."""

import json
import time
import warnings

import pytest
from bdd100k_files import boxed, frame, write

from lightning_edge.data.formats.bdd100k import read_labels


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
    actual = [item.attributes for item in read(tmp_path, frames)]
    assert actual[0] == {"timeofday": "daytime", "weather": "clear", "scene": "undefined"}
    assert set(actual[1].values()) == set(actual[2].values()) == {"undefined"}
    assert actual[3]["weather"] == "undefined"


def test_boxes_that_are_none_are_left_out_and_told_of_once(tmp_path):
    misspelt = boxed(1, 2, 9, 8, id="misspelt")
    misspelt["box2d"]["x5"] = misspelt["box2d"].pop("x2")
    faulty = [misspelt, boxed(1, 2, "wide", 8), boxed(1, 2, float("nan"), 8), boxed(1, 2, 9, 8, box2d=[1, 2, 9, 8])]
    faulty += [boxed(9, 2, 1, 8, id="turned"), boxed(1, 2, 1, 8), boxed(1, 8, 9, 8, "trailer")]
    with pytest.warns(UserWarning, match="skipped") as caught:
        first, second = read(tmp_path, [frame("a", [boxed(1, 2, 9, 8)]), frame("b", faulty)])
    (warning,) = caught
    assert str(warning.message) == (
        f"{tmp_path}/labels/det_20/det_train.json: boxes are skipped: 4 without four valid coordinates, the first is "
        "label misspelt of b.jpg; 3 without an area, the first is label turned of b.jpg."
    )
    assert (len(first.label), len(second.label), len(second.ignored_label)) == (1, 0, 0)


FAULTS = {
    "cut short": (
        '[\n{"name": "a.jpg",\n "labels": [',
        r"expected JSON, got a fault in line 3, column 13: Expecting value; .* truncated",
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
    with pytest.raises(ValueError, match=r"det_train\.json: expected JSON, got no UTF-8 text"):
        read_labels(path)


def test_a_byte_order_mark_is_no_fault(tmp_path):
    path = tmp_path / "det_train.json"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps([frame("a", [boxed(1, 2, 9, 8)])]).encode())
    (only,) = read_labels(path)
    assert (only.name, only.boxes_xyxy.tolist()) == ("a.jpg", [[1, 2, 9, 8]])


def with_attributes(attributes):
    return [frame("a", [boxed(1, 2, 9, 8, attributes=attributes)])]


WRONG_TYPES = {
    "nested": ("[" * 100_000, "expected a list of frames, got lists or dicts that are nested too deeply"),
    "nested below": ('[{"name": "a", "labels": ' + "[" * 100_000, "expected .* nested too deeply"),
    "nested and closed": ("[" * 100_000 + "]" * 100_000, "expected .* nested too deeply"),
    "nested less": ('{"a": ' + "[" * 300 + "]" * 300 + "}", r"expected a list of frames, .*got \{'a': \[\[\["),
    "UTF-16": (None, "expected JSON, got no UTF-8 text"),
    "zeros": ("\0" * 1000, "expected JSON, got a fault in line 1, column 1"),
    "a long number": ("1" * 5000, "expected a list of frames, .* got inf"),
    "NaN": ("NaN", "expected a list of frames, .* got nan"),
    "a long number as a name": ('[{"name": ' + "7" * 5000 + "}]", "expected frame 0 as a dict with a 'name'"),
    "a long number as a category": (
        '[{"name": "a", "labels": [{"box2d": {}, "category": ' + "7" * 5000 + "}]}]",
        "expected a category among .*, got inf for label None of a",
    ),
    "a long text as a category": (
        [frame("a", [boxed(1, 2, 9, 8, "car" * 10**6)])],
        r"expected a category among .*, got 'carcar[carl.]*' for label 7 of a.jpg$",
    ),
    "text as attributes of a label": (
        with_attributes("crowd"),
        "expected attributes of label 7 of a.jpg as a dict, got 'crowd'",
    ),
    "a list as attributes of a label": (
        with_attributes([]),
        r"expected attributes of label 7 of a.jpg as a dict, got \[\]",
    ),
    "text as attributes": ([frame("a") | {"attributes": "day"}], "expected attributes of a.jpg as a dict, got 'day'"),
    "a number as attributes": ([frame("a") | {"attributes": 0}], "expected attributes of a.jpg as a dict, got 0"),
    "crowd as text": (
        with_attributes({"crowd": "false"}),
        "expected crowd of label 7 of a.jpg as true or false, got 'fal",
    ),
    "crowd as a list": (
        with_attributes({"crowd": []}),
        r"expected crowd of label 7 of a.jpg as true or false, got \[\]",
    ),
    "time of day 0": ([frame("a", timeofday=0)], r"expected timeofday of a.jpg among \('daytime', .*, got 0"),
    "no time of day but text": ([frame("a", timeofday="")], r"expected timeofday of a.jpg among .*, got ''"),
    "weather false": ([frame("a", weather=False)], "expected weather of a.jpg among .*, got False"),
    "scene a list": ([frame("a", scene=["highway"])], r"expected scene of a.jpg among .*, got \['highway'\]"),
    "scene a dict": ([frame("a", scene={"a": 1})], r"expected scene of a.jpg among .*, got \{'a': 1\}"),
    "labels 0": ([frame("a") | {"labels": 0}], "expected labels of a.jpg as a list of dicts, got 0"),
    "labels text": ([frame("a") | {"labels": ""}], "expected labels of a.jpg as a list of dicts, got ''"),
    "labels that are null": ([frame("a", [None])], r"expected labels of a.jpg as a list of dicts, got \[None\]"),
}


@pytest.mark.parametrize("kind", WRONG_TYPES)
def test_values_of_a_wrong_type_are_named_in_short(kind, tmp_path):
    content, message = WRONG_TYPES[kind]
    path = tmp_path / "det_train.json"
    text = content if isinstance(content, str) else json.dumps(content)
    path.write_bytes('[{"name": "a"}]'.encode("utf-16") if content is None else text.encode())
    with pytest.raises(ValueError, match=rf"^{path}: {message}") as error:
        read_labels(path)
    assert len(str(error.value)) < 600


def test_crowds_by_number_are_crowds(tmp_path):
    labels = [boxed(1, 2, 9, 8, attributes={"crowd": crowd}) for crowd in (1, 0, None)]
    (only,) = read(tmp_path, [frame("a", labels)])
    assert (len(only.label), len(only.ignored_label)) == (2, 1)


@pytest.mark.parametrize(
    "side", ["1e400", "-1e300", "1" + "0" * 400, "9" * 5000, "Infinity", "1e30", "true", "null", '"9"']
)
@pytest.mark.filterwarnings("error:overflow")
def test_sides_that_are_no_pixels_are_left_out(side, tmp_path):
    text = json.dumps([frame("a", [boxed(1, 2, 77, 8), boxed(1, 2, 9, 8)])]).replace("77", side)
    with pytest.warns(
        UserWarning, match="boxes are skipped: 1 without four valid coordinates, the first is label 7 of a"
    ):
        (only,) = read(tmp_path, text)
    assert only.boxes_xyxy.tolist() == [[1, 2, 9, 8]]


def test_names_are_compared_in_linear_time(tmp_path):
    """A comparison of each with each would take ten seconds, and a minute for the 70,000 of BDD100K."""
    path = tmp_path / "det_train.json"
    path.write_text(json.dumps([{"name": f"{min(number, 29_998)}.jpg"} for number in range(30_000)]))
    begin = time.process_time()
    with pytest.raises(ValueError, match=r"expected each image once, got 29998\.jpg twice"):
        read_labels(path)
    assert time.process_time() - begin < 4
