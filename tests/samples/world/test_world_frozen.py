"""The world in which methods are compared stays as it is.

If a change of the world is meant, raise ``WORLD_VERSION`` and write the golden file anew by running this file as a
script; every number measured on sample data is then out of date.
"""

import hashlib
import json
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from lightning_edge.samples.world.camera import camvid_camera
from lightning_edge.samples.world.district import SUBURB
from lightning_edge.samples.world.domains import DOMAINS
from lightning_edge.samples.world.frames import WORLD_VERSION, render_snippet
from lightning_edge.samples.world.town import build_town

GOLDEN = Path(__file__).parents[2] / "golden" / "sample_world.json"
SEEDS = (0, 7)
HEIGHT, WIDTH = 64, 128


def mask_hash(frames):
    digest = hashlib.sha256()
    for frame in frames:
        digest.update(frame.mask.tobytes())
        digest.update(frame.instance.astype("<i4").tobytes())
    return digest.hexdigest()[:16]


def scene_hash(seed, district):
    """Where everything is, to the millimetre."""
    scene = build_town(seed, 1.8, *district)
    digest = hashlib.sha256()
    for values in (scene.s0, scene.d0, scene.turn, scene.speed, scene.origin, scene.corners, scene.footprint):
        digest.update((np.rint(values * 1000) + 0.0).astype("<i8").tobytes())
    digest.update(scene.surface_label.tobytes())
    return digest.hexdigest()[:16]


def thumbnail(image):
    return cv2.resize(image, (8, 4), interpolation=cv2.INTER_AREA).astype(int).tolist()


def snapshot():
    record = {"version": WORLD_VERSION, "scenes": {}, "masks": {}, "looks": {}}
    for seed in SEEDS:
        record["scenes"][f"city {seed}"] = scene_hash(seed, ())
        record["scenes"][f"suburb {seed}"] = scene_hash(seed, (SUBURB,))
        suburb = render_snippet(seed, 2, 1.0, camera=camvid_camera(60, 80), district=SUBURB)
        record["masks"][f"suburb {seed}"] = mask_hash(suburb)
        for domain in DOMAINS:
            frames = list(render_snippet(seed, 2, height=HEIGHT, width=WIDTH, domain=domain))
            record["masks"][f"{domain} {seed}"] = mask_hash(frames)
            record["looks"][f"{domain} {seed}"] = thumbnail(frames[-1].image)
    return record


@pytest.fixture(scope="module")
def current():
    return snapshot()


@pytest.fixture(scope="module")
def golden():
    return json.loads(GOLDEN.read_text())


def test_geometry_is_frozen(current, golden):
    assert current["version"] == golden["version"]
    assert current["scenes"] == golden["scenes"]
    assert current["masks"] == golden["masks"]


def test_looks_are_frozen(current, golden):
    for name, expected in golden["looks"].items():
        # sums of float32 differ between processors by less than one level of 255
        np.testing.assert_allclose(current["looks"][name], expected, atol=1, err_msg=name)


@pytest.mark.parametrize("seed", SEEDS)
def test_domains_change_no_geometry(current, seed):
    assert len({current["masks"][f"{domain} {seed}"] for domain in DOMAINS}) == 1


@pytest.mark.parametrize("seed", SEEDS)
def test_domains_change_the_look(current, seed):
    looks = [np.array(current["looks"][f"{domain} {seed}"]) for domain in DOMAINS]
    for index, look in enumerate(looks):
        for other in looks[index + 1 :]:
            assert np.abs(look - other).mean() > 5


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps(snapshot()) + "\n")
    sys.stdout.write(f"wrote {GOLDEN}\n")
