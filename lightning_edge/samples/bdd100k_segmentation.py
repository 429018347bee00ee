"""Sample data in the layout of BDD100K's semantic segmentation, a set of images of its own."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from lightning_edge.checks import check_whole_at_least
from lightning_edge.contracts import IGNORE_INDEX
from lightning_edge.ops.cityscapes_labels import LABELS
from lightning_edge.samples.bdd100k import LIGHT_AND_WEATHER, SCENES, SceneImage, scene_images
from lightning_edge.samples.cache import make_once
from lightning_edge.samples.world.camera import bdd100k_camera
from lightning_edge.samples.world.frames import MIN_SIZE_PX, WORLD_VERSION, render_snippet
from lightning_edge.samples.writing import run_jobs, write_jpeg, write_map

SPLIT_SEED = {"train": 4, "val": 5}


def sample_bdd100k_segmentation(
    num_train: int = 120,
    num_val: int = 40,
    height: int = 144,
    width: int = 256,
    domains: Sequence[str] = ("day", "night"),
    seed: int = 0,
) -> Path:
    """Folder of a data set in the layout of BDD100K's semantic segmentation, which is generated on the first call.

    ``images/10k`` has one image of each world, with equally many worlds in all domains, half of them in the city.
    ``labels/sem_seg/masks`` has the masks with the 19 classes of Cityscapes, and 255 for all other pixels. The world of
    an image depends on its number and not on its domain.

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
        work = partial(_write_image, root=root, height=height, width=width)
        run_jobs(work, images, "bdd100k segmentation sample")

    return make_once("bdd100k_segmentation", WORLD_VERSION, arguments, write)


def _write_image(image: SceneImage, root: Path, height: int, width: int) -> None:
    table = np.full(256, IGNORE_INDEX, np.uint8)
    for label in LABELS:
        table[label.label_id] = label.train_id
    district, _ = SCENES[image.scene]
    camera = bdd100k_camera(height, width)
    frame = next(render_snippet(image.world_seed, 1, domain=image.domain, camera=camera, district=district))
    write_jpeg(root / "images/10k" / image.split / f"{image.name}.jpg", frame.image)
    write_map(root / "labels/sem_seg/masks" / image.split / f"{image.name}.png", table[frame.mask])
