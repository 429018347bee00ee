"""Files of BDD100K with boxes around objects, in the format of 2020 (``det_20``) and in the single files of 2018.

Formats: https://doc.bdd100k.com/format.html; mapping of categories: ``bdd100k/configs/det.toml`` of
https://github.com/bdd100k/bdd100k.
"""

import json
import math
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32, Int64

from lightning_edge.data.partitions import Vocabulary

CLASS_NAMES = (
    "pedestrian", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle", "traffic light", "traffic sign",
)  # fmt: skip
VOCABULARY: Vocabulary = {
    "timeofday": ("daytime", "dawn/dusk", "night", "undefined"),
    "weather": ("clear", "partly cloudy", "overcast", "rainy", "snowy", "foggy", "undefined"),
    "scene": ("residential", "highway", "city street", "parking lot", "gas stations", "tunnel", "undefined"),
}
UNDEFINED = "undefined"

OTHER_NAMES = {"bike": "bicycle", "caravan": "car", "motor": "motorcycle", "person": "pedestrian", "van": "car"}
IGNORED = {"other person": "pedestrian", "other vehicle": "car", "trailer": "truck"}
"""Categories that count neither for nor against a detector, and the class of which they could be taken."""

_LABEL_OF_CATEGORY = {name: label for label, name in enumerate(CLASS_NAMES)}
_LABEL_OF_CATEGORY |= {other: _LABEL_OF_CATEGORY[name] for other, name in (OTHER_NAMES | IGNORED).items()}
_SIDES = ("x1", "y1", "x2", "y2")


class LabelledFrame(NamedTuple):
    """What a file of labels says about an image; boxes are pixel edges and have an area."""

    name: str
    attributes: Mapping[str, str]
    boxes_xyxy: Float32[np.ndarray, "boxes 4"]
    label: Int64[np.ndarray, " boxes"]
    ignored_xyxy: Float32[np.ndarray, "ignored 4"]
    ignored_label: Int64[np.ndarray, " ignored"]


def read_labels(path: Path) -> list[LabelledFrame]:
    """Read the frames of a file and warn once of boxes that are none.

    Labels without a box, such as lanes, are passed over. Boxes of a category in ``IGNORED`` and those of crowds are
    ignored ones.

    Raises:
        ValueError: The file is no JSON of frames, or a category or an attribute's value is unknown.
    """
    frames = _read_frames(path)
    names = [_name(path, index, frame) for index, frame in enumerate(frames)]
    if len(set(names)) < len(names):
        twice = next(name for index, name in enumerate(names) if name in names[:index])
        raise ValueError(f"{path}: expected each image once, got {twice} twice")
    faults: dict[str, list[str]] = {"are not four numbers": [], "have no area": []}
    read = [_labelled(path, name, frame, faults) for name, frame in zip(names, frames, strict=True)]
    _warn_of_faults(path, faults)
    return read


def labelled_frame(frame: dict[str, Any], source: Path = Path("a frame")) -> LabelledFrame:
    """What one frame of a file says; boxes that are none are left out without a warning.

    Raises:
        ValueError: A category or an attribute's value is unknown.
    """
    return _labelled(source, _name(source, 0, frame), frame, {"are not four numbers": [], "have no area": []})


def _read_frames(path: Path) -> list[Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(
            f"{path}: expected JSON, got a fault in line {error.lineno}, column {error.colno}: {error.msg}; "
            "is the file cut short? Copy or download it again"
        ) from None
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: expected JSON, got no text: {error}") from None
    frames = content.get("frames") if isinstance(content, dict) else content
    if not isinstance(frames, list):
        raise ValueError(f"{path}: expected a list of frames, or a dict with them as 'frames', got {content!r:.80}")
    return frames


def _name(path: Path, index: int, frame: Any) -> str:
    if not isinstance(frame, dict) or not isinstance(frame.get("name"), str):
        raise ValueError(f"{path}: expected frame {index} as a dict with a 'name', got {frame!r:.80}")
    return frame["name"]


def _labelled(path: Path, name: str, frame: dict[str, Any], faults: dict[str, list[str]]) -> LabelledFrame:
    counted, ignored = [], []
    for label in _boxed(path, name, frame):
        where = f"label {label.get('id')} of {name}"
        category = label.get("category")
        if not isinstance(category, str) or category not in _LABEL_OF_CATEGORY:
            known = sorted(_LABEL_OF_CATEGORY)
            raise ValueError(f"{path}: expected a category among {known}, got {category!r} for {where}")
        box = _box(label["box2d"])
        if box is None:
            faults["are not four numbers"].append(where)
        elif box[2] <= box[0] or box[3] <= box[1]:
            faults["have no area"].append(where)
        else:
            is_crowd = bool((label.get("attributes") or {}).get("crowd"))
            (ignored if is_crowd or category in IGNORED else counted).append((box, _LABEL_OF_CATEGORY[category]))
    return LabelledFrame(name, _attributes(path, name, frame), *_arrays(counted), *_arrays(ignored))


def _boxed(path: Path, name: str, frame: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The labels of a frame that have boxes."""
    labels = frame.get("labels") or []
    if not isinstance(labels, list) or not all(isinstance(label, dict) for label in labels):
        raise ValueError(f"{path}: expected labels of {name} as a list of dicts, got {labels!r:.80}")
    return (label for label in labels if label.get("box2d") is not None)


def _attributes(path: Path, name: str, frame: dict[str, Any]) -> dict[str, str]:
    """A value for each attribute of the vocabulary; ``undefined`` where the frame has none."""
    found = frame.get("attributes") or {}
    if not isinstance(found, dict):
        raise ValueError(f"{path}: expected attributes of {name} as a dict, got {found!r:.80}")
    attributes = {key: found.get(key) or UNDEFINED for key in VOCABULARY}
    for key, value in attributes.items():
        if value not in VOCABULARY[key]:
            raise ValueError(f"{path}: expected {key} of {name} among {VOCABULARY[key]}, got {value!r}")
    return attributes


def _box(box2d: Any) -> list[float] | None:
    """Coordinates, or ``None`` if they are not four finite numbers."""
    sides = [box2d.get(side) for side in _SIDES] if isinstance(box2d, dict) else [None]
    numbers = [float(side) for side in sides if isinstance(side, int | float) and math.isfinite(side)]
    return numbers if len(numbers) == len(_SIDES) else None


def _arrays(
    boxes: list[tuple[list[float], int]],
) -> tuple[Float32[np.ndarray, "boxes 4"], Int64[np.ndarray, " boxes"]]:
    return (
        np.array([box for box, _ in boxes], np.float32).reshape(-1, 4),
        np.array([label for _, label in boxes], np.int64),
    )


def _warn_of_faults(path: Path, faults: dict[str, list[str]]) -> None:
    found = [f"{len(where)} that {what}, the first is {where[0]}" for what, where in faults.items() if where]
    if found:
        warnings.warn(f"{path}: boxes are left out: {'; '.join(found)}", stacklevel=4)
