"""Sample data in the layout of BDD100K's detection set."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from lightning_edge.checks import check_whole_at_least
from lightning_edge.samples.bdd100k_labels import TIMESTAMP_MS, box_labels, old_labels
from lightning_edge.samples.cache import make_once
from lightning_edge.samples.world.camera import bdd100k_camera
from lightning_edge.samples.world.district import CITY, SUBURB
from lightning_edge.samples.world.frames import MIN_SIZE_PX, WORLD_VERSION, render_snippet
from lightning_edge.samples.writing import run_jobs, write_jpeg

SPLIT_SEED = {"train": 2, "val": 3}
LIGHT_AND_WEATHER = {
    "day": ("daytime", "clear"),
    "dusk": ("dawn/dusk", "clear"),
    "night": ("night", "clear"),
    "rain": ("daytime", "rainy"),
    "fog": ("daytime", "foggy"),
}
"""``timeofday`` and ``weather`` of the world's domains."""
SCENES = ((CITY, "city street"), (SUBURB, "residential"))

_PARTS = "parts"


@dataclass(frozen=True)
class SceneImage:
    """One image to write; ``scene`` is a number in ``SCENES``."""

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
    """Folder of a data set in the layout of BDD100K's detection set, which is generated on the first call.

    ``images/100k`` has one image of each world, with equally many worlds in all domains, half of them in the city.
    ``labels/det_20`` has the boxes in the format of 2020, ``labels`` the same boxes in the single files of 2018.
    Objects with a side below 3 pixels, or of which less than a tenth is visible, are not labeled. Persons and vehicles
    with a side below 5 pixels, or of which less than a quarter is visible, are labeled as "other person" and "other
    vehicle" (:mod:`lightning_edge.samples.bdd100k_labels`).

    Args:
        num_train: Number of training images.
        num_val: Number of validation images.
        height: Height of an image, in pixels.
        width: Width of an image, in pixels.
        domains: Names of light and weather conditions, from ``LIGHT_AND_WEATHER``.
        seed: Seed of the worlds.

    Raises:
        ValueError: An argument is out of range.
    """
    check_whole_at_least(1, num_train=num_train, num_val=num_val)
    check_whole_at_least(MIN_SIZE_PX, height=height, width=width)
    check_whole_at_least(0, seed=seed)
    if not domains or not set(domains) <= LIGHT_AND_WEATHER.keys():
        raise ValueError(f"expected domains among {list(LIGHT_AND_WEATHER)}, got {list(domains)}")
    arguments = {"num_train": num_train, "num_val": num_val, "height": height, "width": width,
                 "domains": list(domains), "seed": seed}  # fmt: skip
    images = [
        image
        for split, count in (("train", num_train), ("val", num_val))
        for image in scene_images(split, count, domains, [seed, SPLIT_SEED[split]])
    ]

    def write(root: Path) -> None:
        run_jobs(partial(_write_image, root=root, height=height, width=width), images, "bdd100k sample")
        for split in SPLIT_SEED:
            _join_labels(root, split)
        shutil.rmtree(root / _PARTS)

    return make_once("bdd100k", WORLD_VERSION, arguments, write)


def scene_images(split: str, count: int, domains: Sequence[str], seeds: Sequence[int]) -> list[SceneImage]:
    """Images of different worlds. Each depends only on the seeds and its index.

    Files are sorted by name, and names are random, so the order of the domains is random too.

    Args:
        split: Split of the images.
        count: Number of images.
        domains: Names of light and weather conditions, which the images have in turn.
        seeds: Seeds of the worlds, which differ between splits.
    """
    made = []
    for number in range(count):
        words = np.random.SeedSequence([*seeds, number]).generate_state(3)
        domain, scene = domains[number % len(domains)], number // len(domains) % len(SCENES)
        made.append(SceneImage(split, f"{words[1]:08x}-{words[2]:08x}", int(words[0]), domain, scene))
    return made


def _write_image(image: SceneImage, root: Path, height: int, width: int) -> None:
    (district, scene), (time_of_day, weather) = SCENES[image.scene], LIGHT_AND_WEATHER[image.domain]
    camera = bdd100k_camera(height, width)
    frame = next(render_snippet(image.world_seed, 1, domain=image.domain, camera=camera, district=district))
    write_jpeg(root / "images/100k" / image.split / f"{image.name}.jpg", frame.image)
    attributes = {"weather": weather, "timeofday": time_of_day, "scene": scene}
    about = {"name": f"{image.name}.jpg", "attributes": attributes, "timestamp": TIMESTAMP_MS}
    labels = box_labels(frame)
    part = root / _PARTS / image.split / f"{image.name}.json"
    part.parent.mkdir(parents=True, exist_ok=True)
    part.write_text(json.dumps([about | {"labels": labels}, about | {"labels": old_labels(labels, frame)}]))


def _join_labels(root: Path, split: str) -> None:
    """Merge the label files of single images, which two processes wrote, into one file for each format."""
    parts = [json.loads(path.read_text()) for path in sorted((root / _PARTS / split).iterdir())]
    places = (f"labels/det_20/det_{split}.json", f"labels/bdd100k_labels_images_{split}.json")
    for place, frames in zip(places, zip(*parts, strict=True), strict=True):
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        (root / place).write_text(json.dumps(frames))
