"""Generated USPS and SVHN: in the true layouts, unlike MNIST in the true ways, and always the same.

If a change is meant, raise ``USPS_VERSION`` or ``SVHN_VERSION`` and write the golden file again by running this file as
a script; every number measured on them is then out of date.
"""

import bz2
import json
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.io import loadmat, whosmat

from lightning_edge.data.formats.svhn import read_svhn
from lightning_edge.data.formats.usps import read_usps
from lightning_edge.samples.svhn import SVHN_VERSION, sample_svhn
from lightning_edge.samples.usps import USPS_VERSION, sample_usps

GOLDEN = Path(__file__).parents[1] / "golden" / "sample_usps_svhn.json"
SAMPLES = {"usps": (sample_usps, read_usps), "svhn": (sample_svhn, read_svhn)}


def snapshot():
    """Thumbnails of some images, 4x4 pixels."""
    record = {"versions": [USPS_VERSION, SVHN_VERSION]}
    for name, (sample, read) in SAMPLES.items():
        images = read(sample(60, 20) / name, "train").images
        record |= {f"{name}, image {index}": thumbnail(images[index]) for index in (0, 17, 59)}
    return record


def thumbnail(image):
    return cv2.resize(image, (4, 4), interpolation=cv2.INTER_AREA).reshape(-1).tolist()


@pytest.fixture(scope="module")
def roots(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LIGHTNING_EDGE_CACHE", str(tmp_path_factory.mktemp("samples")))
        yield {name: sample(300, 100) / name for name, (sample, _) in SAMPLES.items()}


def test_the_images_are_those_of_this_version(tmp_path, monkeypatch):
    monkeypatch.setenv("LIGHTNING_EDGE_CACHE", str(tmp_path))
    golden, actual = json.loads(GOLDEN.read_text()), snapshot()
    assert actual.keys() == golden.keys()
    for name, values in golden.items():
        # drawing may differ by a rounding between processors
        assert np.abs(np.subtract(actual[name], values)).max() <= 1, name


def test_usps_is_laid_out_as_the_real_data(roots):
    assert {path.name for path in roots["usps"].iterdir()} == {"usps.bz2", "usps.t.bz2"}
    lines = bz2.decompress((roots["usps"] / "usps.t.bz2").read_bytes()).decode().splitlines()
    assert len(lines) == 100
    for line in lines:
        label, *pairs = line.split()
        assert 1 <= int(label) <= 10
        assert [int(pair.split(":")[0]) for pair in pairs] == list(range(1, 257))


def test_svhn_is_laid_out_as_the_real_data(roots):
    assert {path.name for path in roots["svhn"].iterdir()} == {"train_32x32.mat", "test_32x32.mat"}
    assert whosmat(roots["svhn"] / "test_32x32.mat") == [("X", (32, 32, 3, 100), "uint8"), ("y", (100, 1), "uint8")]
    assert set(loadmat(roots["svhn"] / "test_32x32.mat")["y"][:, 0].tolist()) == set(range(1, 11))


@pytest.mark.parametrize("name", SAMPLES)
def test_classes_are_equally_frequent_in_no_order_and_no_image_comes_twice(name, roots):
    parts = [SAMPLES[name][1](roots[name], part) for part in ("train", "test")]
    for _, labels in parts:
        assert np.ptp(np.bincount(labels, minlength=10)) == 0
        assert len({tuple(labels[start : start + 10]) for start in range(0, 100, 10)}) == 10
    assert len({image.tobytes() for images, _ in parts for image in images}) == 400


def test_digits_of_usps_fill_their_images(roots):
    images = read_usps(roots["usps"], "train").images
    assert images.any(2).all()  # every row
    assert 0.25 < (images > 0).mean() < 0.75
    assert images.max() == 255


def test_images_of_svhn_have_colors_both_contrasts_and_neighbors(roots):
    images = read_svhn(roots["svhn"], "train").images.astype(float)
    gray = images.mean(3)
    center, corners = gray[:, 10:22, 12:20].mean((1, 2)), gray[:, [0, 0, -1, -1], [0, -1, 0, -1]].mean(1)
    assert 0.2 < (center > corners).mean() < 0.8
    assert np.ptp(images.mean((1, 2)), axis=1).mean() > 10
    # the middle of the left and right border differs from their ends where another digit is cut
    sides = np.abs(gray[:, 12:20, [0, -1]].mean(1) - gray[:, [0, -1]][..., [0, -1]].mean(1)).max(1)
    assert 0.2 < (sides > 25).mean() < 0.9


@pytest.mark.parametrize("name", SAMPLES)
def test_it_follows_from_its_arguments(name, tmp_path, monkeypatch):
    contents = []
    for folder, seed in (("a", 0), ("b", 0), ("c", 1)):
        monkeypatch.setenv("LIGHTNING_EDGE_CACHE", str(tmp_path / folder))
        root = SAMPLES[name][0](20, 10, seed)
        contents.append({path.name: path.read_bytes() for path in (root / name).iterdir()})
    assert contents[0] == contents[1]
    assert contents[0].keys() == contents[2].keys()
    assert all(contents[0][file] != contents[2][file] for file in contents[0])


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize(
    ("arguments", "message"),
    [((9, 20), "num_train of at least 10, got 9"), ((20, 9), "num_test of at least 10, got 9"), ((20, 20, -1), "seed")],
)
def test_mistakes_are_named(name, arguments, message):
    with pytest.raises(ValueError, match=message):
        SAMPLES[name][0](*arguments)


if __name__ == "__main__":
    lines = (f" {json.dumps(name)}: {json.dumps(values)}" for name, values in snapshot().items())
    GOLDEN.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    sys.stdout.write(f"wrote {GOLDEN}\n")
