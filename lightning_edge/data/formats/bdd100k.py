"""Box labels of BDD100K, in the format of 2020 (``det_20``) and in the single files of 2018.

Formats: https://doc.bdd100k.com/format.html; mapping of categories: ``bdd100k/configs/det.toml`` of
https://github.com/bdd100k/bdd100k.
"""

import json
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32, Int64

from lightning_edge.data.domains.partitions import Vocabulary
from lightning_edge.data.files import read_file
from lightning_edge.data.shown import shown, shown_name

CLASS_NAMES = (
    "pedestrian", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle", "traffic light", "traffic sign",
)  # fmt: skip
VOCABULARY: Vocabulary = {
    "timeofday": ("daytime", "dawn/dusk", "night", "undefined"),
    "weather": ("clear", "partly cloudy", "overcast", "rainy", "snowy", "foggy", "undefined"),
    "scene": ("residential", "highway", "city street", "parking lot", "gas stations", "tunnel", "undefined"),
}
UNDEFINED = "undefined"
SOURCE = (
    "https://dl.cv.ethz.ch/bdd100k/data or https://dl.yf.io/bdd100k (http://bdd-data.berkeley.edu is down at times)"
)

OTHER_NAMES = {"bike": "bicycle", "caravan": "car", "motor": "motorcycle", "person": "pedestrian", "van": "car"}
IGNORED = {"other person": "pedestrian", "other vehicle": "car", "trailer": "truck"}
"""Categories that count neither for nor against a detector, and the class with which they can be confused."""

_LABEL_OF_CATEGORY = {name: label for label, name in enumerate(CLASS_NAMES)}
_LABEL_OF_CATEGORY |= {other: _LABEL_OF_CATEGORY[name] for other, name in (OTHER_NAMES | IGNORED).items()}
_SIDES = ("x1", "y1", "x2", "y2")
_MAX_FILE_BYTES = 2**31
"""Size limit. The largest file, for the training images in the format of 2018, has about 1.4 billion bytes."""
_MAX_SIDE_PX = 2**24
"""Largest coordinate: up to it ``float32`` represents every whole number exactly."""


class LabeledFrame(NamedTuple):
    """Labels of an image. Boxes are declared by pixel edges and have an area."""

    name: str
    attributes: Mapping[str, str]
    boxes_xyxy: Float32[np.ndarray, "boxes 4"]
    label: Int64[np.ndarray, " boxes"]
    ignored_xyxy: Float32[np.ndarray, "ignored 4"]
    ignored_label: Int64[np.ndarray, " ignored"]


def read_labels(path: Path) -> list[LabeledFrame]:
    """Read the frames of a file, and warn once of invalid boxes.

    Labels without a box, such as lanes, are skipped. Boxes of crowds and of a category in ``IGNORED`` are returned as
    ignored boxes.

    Raises:
        ValueError: The file is not a JSON file of frames, or a category or an attribute has an unknown value.
    """
    frames = _read_frames(path)
    names = [_name(path, index, frame) for index, frame in enumerate(frames)]
    for name, count in Counter(names).most_common(1):
        if count > 1:
            raise ValueError(
                f"{path}: expected each image once, got {shown_name(name)} twice; remove one of its frames"
            )
    faults: dict[str, list[str]] = {"without four valid coordinates": [], "without an area": []}
    read = [_labeled(path, name, frame, faults) for name, frame in zip(names, frames, strict=True)]
    _warn_of_faults(path, faults)
    return read


def labeled_frame(frame: dict[str, Any], source: Path = Path("a frame")) -> LabeledFrame:
    """Labels of one frame of a file. Invalid boxes are removed without a warning.

    Raises:
        ValueError: A category or an attribute has an unknown value.
    """
    return _labeled(
        source, _name(source, 0, frame), frame, {"without four valid coordinates": [], "without an area": []}
    )


def _read_frames(path: Path) -> list[Any]:
    try:
        text = read_file(path, _MAX_FILE_BYTES, f"get it at {SOURCE}").decode("utf-8-sig")
        content = json.loads(text, parse_int=_whole_number)
    except json.JSONDecodeError as error:
        raise ValueError(
            f"{path}: expected JSON, got a fault in line {error.lineno}, column {error.colno}: {error.msg}; "
            "is the file truncated? Copy or download it again"
        ) from None
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: expected JSON, got no UTF-8 text ({error.reason}); download it again") from None
    except RecursionError:
        raise ValueError(
            f"{path}: expected a list of frames, got lists or dicts that are nested too deeply; is this another file?"
        ) from None
    frames = content.get("frames") if isinstance(content, dict) else content
    if not isinstance(frames, list):
        raise ValueError(
            f"{path}: expected a list of frames, or a dict with them as 'frames', got {shown(content)}; is this "
            "another file?"
        )
    return frames


def _whole_number(digits: str) -> int | float:
    """Like ``int``, but in time linear in the number of digits. The largest numbers become infinite."""
    return int(digits) if len(digits) < 20 else float(digits)


def _name(path: Path, index: int, frame: Any) -> str:
    if not isinstance(frame, dict) or not isinstance(frame.get("name"), str):
        raise ValueError(f"{path}: expected frame {index} as a dict with a 'name', got {shown(frame)}")
    return frame["name"]


def _labeled(path: Path, name: str, frame: dict[str, Any], faults: dict[str, list[str]]) -> LabeledFrame:
    counted, ignored = [], []
    for label in _boxed(path, name, frame):
        where = f"label {shown_name(label.get('id'))} of {shown_name(name)}"
        category = label.get("category")
        if not isinstance(category, str) or category not in _LABEL_OF_CATEGORY:
            known = sorted(_LABEL_OF_CATEGORY)
            raise ValueError(f"{path}: expected a category among {known}, got {shown(category)} for {where}")
        is_ignored = _is_crowd(path, where, label) or category in IGNORED
        box = _box(label["box2d"])
        if box is None:
            faults["without four valid coordinates"].append(where)
        elif box[2] <= box[0] or box[3] <= box[1]:
            faults["without an area"].append(where)
        else:
            (ignored if is_ignored else counted).append((box, _LABEL_OF_CATEGORY[category]))
    return LabeledFrame(name, _attributes(path, name, frame), *_arrays(counted), *_arrays(ignored))


def _boxed(path: Path, name: str, frame: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The labels of a frame that have boxes."""
    labels = frame.get("labels")
    if labels is None or labels == {}:
        return iter(())
    if not isinstance(labels, list) or not all(isinstance(label, dict) for label in labels):
        raise ValueError(f"{path}: expected labels of {shown_name(name)} as a list of dicts, got {shown(labels)}")
    return (label for label in labels if label.get("box2d") is not None)


def _attributes(path: Path, name: str, frame: dict[str, Any]) -> dict[str, str]:
    """A value for each attribute of the vocabulary; ``undefined`` where the frame has none."""
    declared = _attributes_of(path, shown_name(name), frame)
    attributes = {key: UNDEFINED if declared.get(key) is None else declared[key] for key in VOCABULARY}
    for key, value in attributes.items():
        if value not in VOCABULARY[key]:
            raise ValueError(
                f"{path}: expected {key} of {shown_name(name)} among {VOCABULARY[key]}, got {shown(value)}"
            )
    return attributes


def _is_crowd(path: Path, where: str, label: dict[str, Any]) -> bool:
    crowd = _attributes_of(path, where, label).get("crowd")
    if crowd not in (None, True, False):
        raise ValueError(f"{path}: expected crowd of {where} as true or false, got {shown(crowd)}")
    return bool(crowd)


def _attributes_of(path: Path, where: str, item: dict[str, Any]) -> dict[str, Any]:
    """Attributes of a frame or of a label, which may have none."""
    attributes = item.get("attributes")
    if not isinstance(attributes, dict | None):
        raise ValueError(f"{path}: expected attributes of {where} as a dict, got {shown(attributes)}")
    return attributes or {}


def _box(box2d: Any) -> list[float] | None:
    """Coordinates, or ``None`` if they are not four numbers within the range of pixels."""
    sides: list[Any] = [box2d.get(side) for side in _SIDES] if isinstance(box2d, dict) else []
    # NaN is in no range, and isinstance would accept true and false as int
    numbers = [float(side) for side in sides if type(side) in (int, float) and -_MAX_SIDE_PX <= side <= _MAX_SIDE_PX]
    return numbers if len(numbers) == len(_SIDES) else None


def _arrays(
    boxes: list[tuple[list[float], int]],
) -> tuple[Float32[np.ndarray, "boxes 4"], Int64[np.ndarray, " boxes"]]:
    return (
        np.array([box for box, _ in boxes], np.float32).reshape(-1, 4),
        np.array([label for _, label in boxes], np.int64),
    )


def _warn_of_faults(path: Path, faults: dict[str, list[str]]) -> None:
    reports = [f"{len(where)} {what}, the first is {where[0]}" for what, where in faults.items() if where]
    if reports:
        warnings.warn(f"{path}: boxes are skipped: {'; '.join(reports)}.", stacklevel=4)
