"""Labels of a frame in the two formats of BDD100K."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import cv2
import numpy as np

from lightning_edge.samples.world.frames import Frame
from lightning_edge.samples.world.labels import THINGS, Label

TIMESTAMP_MS = 10_000
"""Time stamp of the frame in its video, as in the real labels."""

SMALLEST_PX, LEAST_VISIBLE = 3, 0.1
"""Objects with a shorter side, or of which less is visible, are not labeled."""
SMALLEST_SURE_PX, LEAST_SURE_VISIBLE = 5, 0.25
"""Persons and vehicles with a shorter side, or of which less is visible, have a category that the evaluation ignores.

The limits were chosen by eye for images of 144 x 256, before any detector was trained on them. Annotators of the real
images of 720 x 1280 labeled persons of 10 pixels.
"""
LEAST_UNOCCLUDED = 0.7
"""Visible share from which an object is not labeled as occluded."""

CATEGORY_OF_LABEL: Mapping[Label, str] = {
    Label.PERSON: "pedestrian", Label.RIDER: "rider", Label.CAR: "car", Label.TRUCK: "truck", Label.BUS: "bus",
    Label.MOTORCYCLE: "motorcycle", Label.BICYCLE: "bicycle", Label.TRAFFIC_LIGHT: "traffic light",
    Label.TRAFFIC_SIGN: "traffic sign",
}  # fmt: skip
"""The classes of the data set that exist in the world, which are all of the ten except trains."""
OTHER_CATEGORY: Mapping[Label, str] = {
    label: "other person" if label in (Label.PERSON, Label.RIDER) else "other vehicle" for label in THINGS
}
"""Categories of objects that are hard to see."""
OLD_NAMES = {"pedestrian": "person", "motorcycle": "motor", "bicycle": "bike"}
"""Names of some categories in the older format."""

_BY_HAND = {"manualShape": True, "manualAttributes": True}


class _Object(NamedTuple):
    label: Label
    box_xyxy: tuple[int, int, int, int]
    visible_fraction: float


def box_labels(frame: Frame) -> list[dict[str, Any]]:
    """Labels of the objects in a frame, in the format of 2020.

    The world does not count traffic lights and signs separately, so each connected region of their pixels has one box.
    Those that touch share a box, and the parts of one behind a pole have a box each.
    """
    height, width = frame.mask.shape
    return [_label(number, item, height, width) for number, item in enumerate(_objects(frame))]


def old_labels(labels: list[dict[str, Any]], frame: Frame) -> list[dict[str, Any]]:
    """The same labels in the format of 2018, and the road as an area without a box."""
    return [*map(_old_label, labels), *_drivable_area(frame, len(labels))]


def _objects(frame: Frame) -> Iterator[_Object]:
    """Labels of the objects that are large enough."""
    for box in frame.boxes:
        if _shorter_side(box.box_xyxy) >= SMALLEST_PX and box.visible_fraction >= LEAST_VISIBLE:
            yield _Object(Label(box.label), box.box_xyxy, box.visible_fraction)
    for label in (Label.TRAFFIC_LIGHT, Label.TRAFFIC_SIGN):
        _, _, found, _ = cv2.connectedComponentsWithStats((frame.mask == label).astype(np.uint8))
        for x, y, width, height, _ in found[1:].tolist():
            if min(width, height) >= SMALLEST_PX:
                yield _Object(label, (x, y, x + width, y + height), 1.0)


def _shorter_side(box_xyxy: tuple[int, int, int, int]) -> int:
    return min(box_xyxy[2] - box_xyxy[0], box_xyxy[3] - box_xyxy[1])


def _label(number: int, item: _Object, height: int, width: int) -> dict[str, Any]:
    x1, y1, x2, y2 = item.box_xyxy
    is_sure = _shorter_side(item.box_xyxy) >= SMALLEST_SURE_PX and item.visible_fraction >= LEAST_SURE_VISIBLE
    category = CATEGORY_OF_LABEL[item.label]
    return {
        "id": str(number),
        "attributes": {
            "occluded": item.visible_fraction < LEAST_UNOCCLUDED,
            "truncated": x1 == 0 or y1 == 0 or x2 == width or y2 == height,
            "trafficLightColor": "NA",
        },
        "category": category if is_sure else OTHER_CATEGORY.get(item.label, category),
        "box2d": {"x1": float(x1), "y1": float(y1), "x2": float(x2), "y2": float(y2)},
    }


def _old_label(label: dict[str, Any]) -> dict[str, Any]:
    category = OLD_NAMES.get(label["category"], label["category"])
    attributes = label["attributes"] | {"trafficLightColor": "none"}
    return label | {"id": int(label["id"]), "category": category, "attributes": attributes} | _BY_HAND


def _drivable_area(frame: Frame, number: int) -> Iterator[dict[str, Any]]:
    road = (frame.mask == Label.ROAD).astype(np.uint8)
    outlines, _ = cv2.findContours(road, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    if not outlines:
        return
    outline = cv2.approxPolyDP(max(outlines, key=cv2.contourArea), 1.0, closed=True)[:, 0]
    area = {"vertices": outline.astype(float).tolist(), "types": "L" * len(outline), "closed": True}
    attributes = {"areaType": "direct"}
    yield {"id": number, "category": "drivable area", "attributes": attributes, "poly2d": [area]} | _BY_HAND
