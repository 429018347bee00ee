"""Whatever a file holds, an error about it is one line to read."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lightning_edge.data.domains.features import read_features, write_features
from lightning_edge.data.formats.bdd100k import read_labels
from lightning_edge.data.shown import shown, shown_name

WIDE: Any = 0
for _ in range(6):  # some limits of depth and width multiply
    WIDE = [WIDE] * 6

BOX = {"x1": 1, "y1": 1, "x2": 5, "y2": 5}
FRAME = {"name": "a.jpg", "labels": [{"id": 1, "category": "car", "box2d": BOX}]}
FAULTS = {
    "frame": [WIDE],
    "name": [{"name": WIDE}],
    "the same long name": [FRAME | {"name": "x" * 100_000}] * 2,
    "the same name of two lines": [FRAME | {"name": "a\nb"}] * 2,
    "labels": [FRAME | {"labels": WIDE}],
    "attributes": [FRAME | {"attributes": WIDE}],
    "attributes of a long name": [FRAME | {"name": "x" * 100_000, "attributes": WIDE}],
    "weather": [FRAME | {"attributes": {"weather": WIDE}}],
    "category": [FRAME | {"labels": [{"category": WIDE, "box2d": BOX}]}],
    "id": [FRAME | {"labels": [{"id": "x" * 100_000, "category": "zebra", "box2d": BOX}]}],
    "crowd": [FRAME | {"labels": [{"category": "car", "box2d": BOX, "attributes": {"crowd": WIDE}}]}],
}


@pytest.mark.parametrize("fault", FAULTS)
def test_an_error_about_labels_is_one_line(fault: str, tmp_path: Path):
    path = tmp_path / "labels.json"
    path.write_text(json.dumps(FAULTS[fault]))
    with pytest.raises(ValueError, match=r"labels\.json: expected ") as error:
        read_labels(path)
    assert len(str(error.value)) < 800
    assert str(error.value).isprintable()


@pytest.mark.parametrize("name", ["x" * 10_000, "a\nb"])
def test_an_error_about_features_is_one_line(name: str, tmp_path: Path):
    path = tmp_path / "features.npz"
    write_features(path, {"train": ([name, name], np.zeros((2, 3), np.float32))})
    with pytest.raises(ValueError, match=r"features\.npz: expected each image of the train split once") as error:
        read_features(path, "train")
    assert len(str(error.value)) < 400
    assert str(error.value).isprintable()


def test_what_is_short_is_shown_as_it_is():
    assert shown({"frames": [1, "a"]}) == "{'frames': [1, 'a']}"
    assert shown_name("b1c66a42-6f7d68ca.jpg") == "b1c66a42-6f7d68ca.jpg"
    assert [shown_name(value) for value in ("", 7, None)] == ["''", "7", "None"]
