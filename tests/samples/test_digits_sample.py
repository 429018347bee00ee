"""Generated digits: in the true layout, in MNIST's size and place, on patches as in MNIST-M, and always the same.

If a change is meant, raise ``DIGITS_VERSION`` and write the golden file anew by running this file as a script; every
number measured on them is then out of date.
"""

import gzip
import json
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from lightning_edge.data.formats.digits import read_mnist, read_mnist_m
from lightning_edge.samples.digits import DIGITS_VERSION, sample_digits
from lightning_edge.samples.handwriting import draw_digit

GOLDEN = Path(__file__).parents[1] / "golden" / "sample_digits.json"
REAL = Path(__file__).parents[3] / "shared/data"


def snapshot():
    """Thumbnails of every digit and of some images of the data sets, 4x4 pixels."""
    root = sample_digits(60, 40)
    gray, colored = read_mnist(root / "mnist", "train").images, read_mnist_m(root / "mnist_m").images
    record = {"version": DIGITS_VERSION}
    record |= {f"digit {digit}": thumbnail(draw_digit(digit, np.random.default_rng(1))) for digit in range(10)}
    record |= {f"mnist, image {index}": thumbnail(gray[index]) for index in (0, 17, 59)}
    return record | {f"mnist_m, image {index}": thumbnail(colored[index]) for index in (0, 17, 39)}


def thumbnail(image):
    return cv2.resize(image, (4, 4), interpolation=cv2.INTER_AREA).reshape(-1).tolist()


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LIGHTNING_EDGE_CACHE", str(tmp_path_factory.mktemp("samples")))
        yield sample_digits(1000, 300)


def test_the_images_are_those_of_this_version(tmp_path, monkeypatch):
    monkeypatch.setenv("LIGHTNING_EDGE_CACHE", str(tmp_path))
    golden, actual = json.loads(GOLDEN.read_text()), snapshot()
    assert actual.keys() == golden.keys()
    for name, values in golden.items():
        # drawing may differ by a rounding between processors
        assert np.abs(np.subtract(actual[name], values)).max() <= 1, name


def test_it_is_laid_out_as_the_real_data(root):
    assert {str(path.relative_to(root)) for path in root.rglob("*.gz")} == {
        f"mnist/{part}-{kind}-ubyte.gz" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")
    }
    header = gzip.decompress((root / "mnist/train-images-idx3-ubyte.gz").read_bytes())[:16]
    assert np.frombuffer(header, ">u4").tolist() == [2051, 1000, 28, 28]
    images = sorted((root / "mnist_m/mnist_m_test").iterdir())
    assert [path.name for path in images] == [f"{index:08d}.png" for index in range(300)]
    assert cv2.imread(str(images[0]), cv2.IMREAD_UNCHANGED).shape == (32, 32, 3)
    lines = (root / "mnist_m/mnist_m_test_labels.txt").read_text().splitlines()
    assert [line.split()[0] for line in lines] == [path.name for path in images]


@pytest.mark.skipif(not (REAL / "mnist_m").is_dir(), reason="needs real MNIST and MNIST-M")
def test_its_files_are_named_as_the_real_ones(root):
    assert {path.name for path in (root / "mnist").iterdir()} == {path.name for path in (REAL / "mnist").iterdir()}
    name = "mnist_m/mnist_m_test_labels.txt"
    ours, theirs = ((folder / name).read_text().splitlines()[7] for folder in (root, REAL))
    assert ours.split()[0] == theirs.split()[0]
    assert len(ours) == len(theirs)


@pytest.mark.parametrize("part", ["train", "t10k"])
def test_classes_are_equally_frequent_and_in_no_order(part, root):
    labels = read_mnist(root / "mnist", part).labels
    assert np.ptp(np.bincount(labels, minlength=10)) == 0
    assert len({tuple(labels[start : start + 10]) for start in range(0, 100, 10)}) == 10


def test_no_image_comes_twice(root):
    images = [image.tobytes() for part in ("train", "t10k") for image in read_mnist(root / "mnist", part).images]
    assert len(set(images)) == len(images) == 1300


def test_digits_have_mnists_size_and_place(root):
    """In a box of 20 pixels about the middle (LeCun et al., 1998), white on black, with strokes of a few pixels."""
    images = read_mnist(root / "mnist", "train").images
    for image in images:
        rows, columns = (np.flatnonzero(image.any(axis)) for axis in (1, 0))
        extents = [np.ptp(rows) + 1, np.ptp(columns) + 1]
        assert 18 <= max(extents) <= 22, extents
        assert min(rows.min(), columns.min(), 27 - rows.max(), 27 - columns.max()) >= 2
    assert images.max() == 255
    # of the real ones 19 % of the pixels are not black, and 33 is the mean
    assert 0.1 < (images > 0).mean() < 0.25
    assert 20 < images.mean() < 45


def test_an_image_of_mnist_m_is_that_of_mnist_on_a_patch(root):
    """Where the digit is not, the patch is as it was; undoing it where it is leaves no trace of the digit."""
    gray, colored = read_mnist(root / "mnist", "t10k"), read_mnist_m(root / "mnist_m")
    assert colored.labels.tolist() == gray.labels.tolist()
    mask = np.pad(gray.images, ((0, 0), (2, 2), (2, 2)))[..., None] > 0
    images = colored.images.astype(float)
    roughness = {
        name: sum(np.abs(np.diff(pixels, axis=axis)).mean((1, 2, 3)) for axis in (1, 2))
        for name, pixels in {
            "as it is": images,
            "undone": np.where(mask, 255 - images, images),
            "undone by another": np.where(np.roll(mask, 1, 0), 255 - images, images),
        }.items()
    }
    # on patches of middle gray a digit hardly shows, as in the real ones
    assert (roughness["undone"] < roughness["as it is"]).mean() > 0.8
    assert (roughness["undone"] < roughness["undone by another"]).mean() > 0.9
    colors = images[:, 0, 0]
    assert (colors.std(0) > 40).all()
    assert np.ptp(colors, axis=1).mean() > 20


def test_a_linear_model_finds_them_as_hard_as_the_real_ones(root):
    """The same fit to the first thousand real ones is right about 80 % of gray and 23 % of colored digits."""
    gray, test = (read_mnist(root / "mnist", part) for part in ("train", "t10k"))
    colored = read_mnist_m(root / "mnist_m").images.mean(3)
    inputs = np.pad(gray.images, ((0, 0), (2, 2), (2, 2)))
    torch.manual_seed(0)
    model = nn.Linear(32 * 32, 10)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    for _ in range(200):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(flat(inputs)), torch.from_numpy(gray.labels)).backward()
        optimizer.step()
    truth = torch.from_numpy(test.labels)
    on_gray, on_colors = (
        (model(flat(images)).argmax(1) == truth).float().mean().item()
        for images in (np.pad(test.images, ((0, 0), (2, 2), (2, 2))), colored)
    )
    assert 0.7 < on_gray < 0.9, on_gray
    assert 0.13 < on_colors < 0.33, on_colors


def flat(images):
    return torch.from_numpy(images / 255).float().flatten(1)


def test_it_is_made_once_and_follows_from_its_arguments(tmp_path, monkeypatch):
    roots = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        monkeypatch.setenv("LIGHTNING_EDGE_CACHE", str(tmp_path / name))
        roots.append(sample_digits(20, 20, seed))
        assert sample_digits(20, 20, seed) == roots[-1]
    files = [
        {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        for folder in roots
    ]
    assert files[0] == files[1]
    assert files[0].keys() == files[2].keys()
    for part in ("train", "t10k"):
        assert not np.array_equal(
            read_mnist(roots[0] / "mnist", part).images, read_mnist(roots[2] / "mnist", part).images
        )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((9, 20), "num_train of at least 10, got 9"), ((20, 9), "num_test of at least 10, got 9"), ((20, 20, -1), "seed")],
)
def test_mistakes_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        sample_digits(*arguments)


if __name__ == "__main__":
    lines = (f" {json.dumps(name)}: {json.dumps(values)}" for name, values in snapshot().items())
    GOLDEN.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    sys.stdout.write(f"wrote {GOLDEN}\n")
