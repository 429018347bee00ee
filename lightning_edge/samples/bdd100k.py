"""Sample data in the folders and files of BDD100K's detection set."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from lightning_edge.samples.cache import make_once
from lightning_edge.samples.camera import bdd100k_camera
from lightning_edge.samples.district import CITY, SUBURB
from lightning_edge.samples.domains import domain_named
from lightning_edge.samples.frames import MIN_SIZE_PX, WORLD_VERSION, Frame, check_at_least, render_snippet
from lightning_edge.samples.labels import Label
from lightning_edge.samples.writing import run_jobs, write_jpeg

SPLIT_SEED = {"train": 2, "val": 3}
TIMESTAMP_MS = 10_000
"""Of the frame in its video, as in the real labels."""

SMALLEST_PX, LEAST_VISIBLE = 3, 0.1
"""Objects with a shorter side, or of which less is visible, are not labelled."""
SMALLEST_SURE_PX, LEAST_SURE_VISIBLE = 5, 0.25
"""Those with a shorter side, or of which less is visible, have a category that the official evaluation ignores."""
LEAST_UNOCCLUDED = 0.7

CATEGORY_OF_LABEL: Mapping[int, str] = {
    Label.PERSON: "pedestrian", Label.RIDER: "rider", Label.CAR: "car", Label.TRUCK: "truck", Label.BUS: "bus",
    Label.MOTORCYCLE: "motorcycle", Label.BICYCLE: "bicycle", Label.TRAFFIC_LIGHT: "traffic light",
    Label.TRAFFIC_SIGN: "traffic sign",
}  # fmt: skip
"""The classes of the data set that the world has: all of the ten but trains."""
OLD_NAMES = {"pedestrian": "person", "motorcycle": "motor", "bicycle": "bike"}
"""What the older format calls some of them."""
PEOPLE = {Label.PERSON, Label.RIDER}
LIGHT_AND_WEATHER = {
    "day": ("daytime", "clear"),
    "dusk": ("dawn/dusk", "clear"),
    "night": ("night", "clear"),
    "rain": ("daytime", "rainy"),
    "fog": ("daytime", "foggy"),
}
"""``timeofday`` and ``weather`` of the world's domains."""
SCENES = ((CITY, "city street"), (SUBURB, "residential"))


@dataclass(frozen=True)
class _Image:
    """One image to write."""

    split: str
    name: str
    world_seed: int
    domain: str
    scene: int


def sample_bdd100k(
    num_train: int = 600,
    num_val: int = 200,
    height: int = 144,
    width: int = 256,
    domains: Sequence[str] = tuple(LIGHT_AND_WEATHER),
    seed: int = 0,
) -> Path:
    """Root of a data set that reads as BDD100K's detection set, made on the first call.

    ``images/100k`` has an image of each of as many worlds, half of them in the city, evenly in all domains.
    ``labels/det_20`` has the boxes in the format of 2020, ``labels`` the same in the single files of 2018. Traffic
    lights and signs, which the world does not count one by one, are connected pixels, so that those which touch share a
    box.

    Args:
        num_train: Images for training.
        num_val: Images for validation.
        height: Rows of an image.
        width: Columns of an image.
        domains: Light and weather, of ``LIGHT_AND_WEATHER``.
        seed: Another seed gives other worlds.

    Raises:
        ValueError: An argument is out of range.
    """
    limits = {"num_train": (num_train, 1), "num_val": (num_val, 1), "height": (height, MIN_SIZE_PX),
              "width": (width, MIN_SIZE_PX), "seed": (seed, 0)}  # fmt: skip
    for name, (value, least) in limits.items():
        check_at_least(name, value, least)
    if not domains or not set(domains) <= LIGHT_AND_WEATHER.keys():
        raise ValueError(f"expected domains among {list(LIGHT_AND_WEATHER)}, got {list(domains)}")
    arguments = {"num_train": num_train, "num_val": num_val, "height": height, "width": width,
                 "domains": list(domains), "seed": seed}  # fmt: skip
    images = {split: _images(split, count, domains, seed) for split, count in (("train", num_train), ("val", num_val))}

    def write(root: Path) -> None:
        jobs = [image for of_split in images.values() for image in of_split]
        run_jobs(partial(_write_image, root=root, height=height, width=width), jobs, "bdd100k sample")
        for split, of_split in images.items():
            _write_labels(root, split, of_split)

    return make_once("bdd100k", WORLD_VERSION, arguments, write)


def _images(split: str, count: int, domains: Sequence[str], seed: int) -> list[_Image]:
    """Images of different worlds; each depends on the seed, the split and its number alone."""
    made = []
    for number in range(count):
        words = np.random.SeedSequence([seed, SPLIT_SEED[split], number]).generate_state(3)
        domain, scene = domains[number % len(domains)], number // len(domains) % len(SCENES)
        made.append(_Image(split, f"{words[1]:08x}-{words[2]:08x}", int(words[0]), domain, scene))
    return sorted(made, key=lambda image: image.name)


def _write_image(image: _Image, root: Path, height: int, width: int) -> None:
    domain_named(image.domain)
    camera, (district, _) = bdd100k_camera(height, width), SCENES[image.scene]
    frame = next(render_snippet(image.world_seed, 1, domain=image.domain, camera=camera, district=district))
    write_jpeg(root / "images/100k" / image.split / f"{image.name}.jpg", frame.image)
    # from there into the files of all images
    _part(root, image).parent.mkdir(parents=True, exist_ok=True)
    _part(root, image).write_text(json.dumps(list(_labels(frame))))


def _part(root: Path, image: _Image) -> Path:
    return root / "parts" / image.split / f"{image.name}.json"


def _labels(frame: Frame) -> Iterator[dict[str, Any]]:
    height, width = frame.mask.shape
    for number, (label, box, visible) in enumerate(_objects(frame)):
        shorter = min(box[2] - box[0], box[3] - box[1])
        is_sure = label not in PEOPLE | _VEHICLES or (shorter >= SMALLEST_SURE_PX and visible >= LEAST_SURE_VISIBLE)
        is_truncated = box[0] == 0 or box[1] == 0 or box[2] == width or box[3] == height
        attributes = {
            "occluded": visible < LEAST_UNOCCLUDED,
            "truncated": is_truncated,
            "trafficLightColor": "NA",
        }
        unsure = "other person" if label in PEOPLE else "other vehicle"
        yield {
            "id": str(number),
            "attributes": attributes,
            "category": CATEGORY_OF_LABEL[label] if is_sure else unsure,
            "box2d": dict(zip(("x1", "y1", "x2", "y2"), map(float, box), strict=True)),
        }


_VEHICLES = {Label.CAR, Label.TRUCK, Label.BUS, Label.MOTORCYCLE, Label.BICYCLE}


def _objects(frame: Frame) -> Iterator[tuple[int, tuple[int, ...], float]]:
    """Label, box and visible part of what is large enough."""
    for box in frame.boxes:
        x1, y1, x2, y2 = box.box_xyxy
        if min(x2 - x1, y2 - y1) >= SMALLEST_PX and box.visible_fraction >= LEAST_VISIBLE:
            yield box.label, box.box_xyxy, box.visible_fraction
    for label in (Label.TRAFFIC_LIGHT, Label.TRAFFIC_SIGN):
        _, _, found, _ = cv2.connectedComponentsWithStats((frame.mask == label).astype(np.uint8))
        for x, y, width, height, _ in found[1:].tolist():
            if min(width, height) >= SMALLEST_PX:
                yield label, (x, y, x + width, y + height), 1.0


def _write_labels(root: Path, split: str, images: Sequence[_Image]) -> None:
    frames = [_frame(image, json.loads(_part(root, image).read_text())) for image in images]
    for image in images:
        _part(root, image).unlink()
    for folder in (root / "parts" / split, root / "parts"):
        if not any(folder.iterdir()):
            folder.rmdir()
    (root / "labels/det_20").mkdir(parents=True, exist_ok=True)
    (root / f"labels/det_20/det_{split}.json").write_text(json.dumps(frames))
    old = [frame | {"labels": [*map(_old_label, frame["labels"]), _drivable_area(frame)]} for frame in frames]
    (root / f"labels/bdd100k_labels_images_{split}.json").write_text(json.dumps(old))


def _frame(image: _Image, labels: list[dict[str, Any]]) -> dict[str, Any]:
    time_of_day, weather = LIGHT_AND_WEATHER[image.domain]
    attributes = {"weather": weather, "timeofday": time_of_day, "scene": SCENES[image.scene][1]}
    return {"name": f"{image.name}.jpg", "attributes": attributes, "timestamp": TIMESTAMP_MS, "labels": labels}


def _old_label(label: dict[str, Any]) -> dict[str, Any]:
    name = OLD_NAMES.get(label["category"], label["category"])
    return label | {"id": int(label["id"]), "category": name, "manualShape": True, "manualAttributes": True}


def _drivable_area(frame: dict[str, Any]) -> dict[str, Any]:
    """A label without a box, of which the older files hold many."""
    area = {"vertices": [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]], "types": "LLL", "closed": True}
    return {
        "id": len(frame["labels"]),
        "category": "drivable area",
        "attributes": {"areaType": "direct"},
        "poly2d": [area],
        "manualShape": True,
        "manualAttributes": True,
    }
