"""Digits in four looks: what is in each, and that no digit is trained on and judged."""

import shutil
from collections import Counter
from pathlib import Path

import albumentations as A
import cv2
import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from lightning_edge.batch_checks import check_batch
from lightning_edge.contracts import ClassificationBatch
from lightning_edge.data import DigitsDataModule, EachImage, RandomDomains, ShuffledEmbedding
from lightning_edge.data.formats.digits import read_mnist, read_mnist_m
from lightning_edge.data.images.digit_looks import BLUR_SIGMA_PX
from lightning_edge.data.loading import SampleRequest
from lightning_edge.samples.digits import sample_digits

REAL = Path(__file__).parents[3] / "shared/data"
SOURCES = ("mnist", "mnist_m", "inverted", "blurred")
SPLITS = ("train", "val", "test")


@pytest.fixture(scope="module")
def sample(sample_cache):
    return sample_digits(300, 100)


@pytest.fixture(scope="module")
def real():
    if not (REAL / "mnist_m").is_dir():
        pytest.skip("needs real MNIST and MNIST-M")
    return DigitsDataModule(REAL, num_workers=0)


def make(root=None, **arguments):
    return DigitsDataModule(root, **{"batch_size": 8, "num_workers": 0} | arguments)


def origin(record):
    """Which image of which file an image was made of, and its look, by its name."""
    place, source = record.name.split()
    file, number = place.split("-")
    return file, int(number), source


def origins(data, split):
    return [origin(record) for record in data.records(split)]


def digits_of(data, split):
    """The images of MNIST that those of a split were made of."""
    return {(file, number) for file, number, _ in origins(data, split)}


@pytest.mark.parametrize("split", SPLITS)
def test_images_are_what_their_names_say(split, sample):
    data = make(sample)
    dataset, colored = data.dataset(split), sample / "mnist_m/mnist_m_test"
    mnist = {part: read_mnist(sample / "mnist", part) for part in ("train", "t10k")}
    for index, (file, number, source) in enumerate(origins(data, split)):
        item = dataset[index]
        gray = np.pad(mnist[file].images[number], 2)
        if source == "mnist_m":
            expected = cv2.imread(str(colored / f"{number:08d}.png"))[..., ::-1]
        elif source == "blurred":
            expected = gaussian_filter(gray.astype(float), BLUR_SIGMA_PX, mode="mirror")[..., None].repeat(3, 2)
        else:
            expected = (255 - gray if source == "inverted" else gray)[..., None].repeat(3, 2)
        difference = item["image"].permute(1, 2, 0).numpy() - expected.astype(float)
        # blurred by a kernel of finite width
        assert np.abs(difference).max() <= (3 if source == "blurred" else 0), (source, number)
        assert item["label"] == mnist[file].labels[number]
        assert item["domain"] == SOURCES.index(source)
        assert item["domain_embedding"].tolist() == [float(source == name) for name in SOURCES]


def test_blurring_is_a_shift(sample):
    """It takes most of the energy of edges, and leaves the light."""
    dataset = make(sample).dataset("test")
    sharp, blurred = (dataset.images[dataset.domains.domain == SOURCES.index(name)] for name in ("mnist", "blurred"))
    energy = [np.square(np.diff(images.astype(float), axis=2)).mean() for images in (sharp, blurred)]
    assert energy[1] < 0.2 * energy[0]
    assert blurred.mean() == pytest.approx(sharp.mean(), rel=0.02)


def check_no_digit_is_trained_on_and_judged(data):
    trained, *judged = (digits_of(data, split) for split in SPLITS)
    assert trained.isdisjoint(judged[0])
    assert trained.isdisjoint(judged[1])
    assert judged[0].isdisjoint(judged[1])


def check_each_digit_is_trained_on_in_one_look(data):
    assert max(Counter((file, number) for file, number, _ in origins(data, "train")).values()) == 1


def check_judged_are_the_same_digits_in_all_looks(data):
    for split in ("val", "test"):
        by_source = {source: [o[:2] for o in origins(data, split) if o[2] == source] for source in SOURCES}
        assert all(digits == by_source["mnist"] for digits in by_source.values())
        assert by_source["mnist"]


CHECKS = (
    check_no_digit_is_trained_on_and_judged,
    check_each_digit_is_trained_on_in_one_look,
    check_judged_are_the_same_digits_in_all_looks,
)


@pytest.mark.parametrize("check", CHECKS)
def test_of_sample_data(check, sample):
    check(make(sample))


@pytest.mark.parametrize("check", CHECKS)
def test_of_real_data(check, real):
    check(real)


def test_real_images_are_those_that_were_asked_for(real):
    counts = {split: Counter(origin(record)[::2] for record in real.records(split)) for split in SPLITS}
    assert counts["train"] == {("t10k" if source == "mnist_m" else "train", source): 4000 for source in SOURCES}
    assert counts["val"] == counts["test"] == {("t10k", source): 500 for source in SOURCES}
    trained = {number for _, number, source in origins(real, "train") if source == "mnist_m"}
    assert trained == set(range(4000))
    assert {number for _, number in digits_of(real, "val")} == set(range(4000, 4500))
    assert {number for _, number in digits_of(real, "test")} == set(range(4500, 5000))


def test_no_real_digit_is_in_two_splits_by_its_pixels(real):
    """The names are not believed here: a digit of MNIST-M is found again by undoing what was done to it."""
    t10k = read_mnist(REAL / "mnist", "t10k").images
    judged_in_gray = {image.tobytes() for split in ("val", "test") for image in looks(real, split, "mnist")}
    assert len(judged_in_gray) == 1000
    for source, undo in (("mnist", lambda image: image), ("inverted", lambda image: 255 - image)):
        trained = {undo(image).tobytes() for image in looks(real, "train", source)}
        assert len(trained) == 4000
        assert trained.isdisjoint(judged_in_gray), source
    for split in ("train", "test"):
        images = looks(real, split, "mnist_m")[::40]
        numbers = [number for _, number, source in origins(real, split) if source == "mnist_m"][::40]
        own, next_ones = (roughness_without(t10k[np.add(numbers, step)], images) for step in (0, 1))
        assert (own < next_ones).mean() > 0.95


def looks(data, split, source):
    dataset = data.dataset(split)
    return dataset.images[dataset.domains.domain.numpy() == SOURCES.index(source)]


def roughness_without(digits, images):
    """How much neighbors differ once these digits are taken out of images of MNIST-M: little if they are in them."""
    mask = np.pad(digits, ((0, 0), (2, 2), (2, 2)))[..., None] > 0
    undone = np.where(mask, 255 - images.astype(float), images)
    return sum(np.abs(np.diff(undone, axis=axis)).mean((1, 2, 3)) for axis in (1, 2))


def test_fewer_images_are_part_of_more_whatever_the_seed(sample):
    few, more, most = (digits_of(make(sample, num_train_per_domain=n, seed=n), "train") for n in (5, 20, 4000))
    assert (len(few), len(more), len(most)) == (20, 80, 320)
    assert few < more < most


@pytest.mark.parametrize(("num_samples", "count"), [((300, 100), 80), ((60, 100), 20), ((300, 20), 16)])
def test_no_domain_has_more_images_than_another(num_samples, count, sample_cache):
    data = make(num_samples=num_samples)
    counts = Counter(source for _, _, source in origins(data, "train"))
    assert counts == dict.fromkeys(SOURCES, count)


def test_training_images_are_shifted_and_follow_from_the_seed(sample):
    dataset = make(sample).dataset("train")
    for index in (3, len(dataset) // 2 + 3):  # black and white around the digit
        seen = [dataset[SampleRequest(index, seed, 0)]["image"] for seed in range(60)]
        assert torch.equal(dataset[SampleRequest(index, 7, 0)]["image"], seen[7])
        padded = np.pad(dataset.images[index], ((2, 2), (2, 2), (0, 0)), "edge").transpose(2, 0, 1)
        windows = {padded[:, y : y + 32, x : x + 32].tobytes() for y in range(5) for x in range(5)}
        actual = {image.numpy().tobytes() for image in seen}
        assert actual <= windows
        assert len(actual) > 15
    plain = make(sample, train_transform=A.NoOp()).dataset("train")
    assert np.array_equal(plain[SampleRequest(3, 7, 0)]["image"].permute(1, 2, 0), dataset.images[3])


def test_batches_are_as_promised(sample):
    data = make(sample, embedding=ShuffledEmbedding())
    for loader in (data.train_dataloader(), data.val_dataloader(), data.test_dataloader()):
        check_batch(data.on_after_batch_transfer(next(iter(loader)), 0), ClassificationBatch)
    assert data.domain_names == SOURCES
    assert data.embedding_features == 4
    assert data.class_names == tuple("0123456789")


def test_names_are_unique_and_other_partitions_go(sample):
    data = make(sample, partition=RandomDomains(3))
    assert all(len({r.name for r in data.records(split)}) == len(data.records(split)) for split in SPLITS)
    assert set(data.dataset("train").domains.domain.tolist()) == {0, 1, 2}
    with pytest.raises(ValueError, match="OneHotEmbedding"):
        make(sample, partition=EachImage()).setup("fit")


def test_fewer_images_of_mnist_m_than_of_mnist_are_welcome(sample, tmp_path):
    shutil.copytree(sample, tmp_path, dirs_exist_ok=True)
    labels = tmp_path / "mnist_m/mnist_m_test_labels.txt"
    lines = labels.read_text().splitlines(keepends=True)
    labels.write_text("".join(lines[:50]))
    assert (
        read_mnist_m(tmp_path / "mnist_m").labels.tolist()
        == read_mnist(tmp_path / "mnist", "t10k").labels[:50].tolist()
    )
    data = make(tmp_path)
    assert {number for _, number in digits_of(data, "test")} == set(range(45, 50))
    check_no_digit_is_trained_on_and_judged(data)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_train_per_domain": 0}, "expected num_train_per_domain of at least 1, got 0"),
        ({"num_samples": (5, 100)}, "expected num_train of at least 10, got 5"),
        ({"num_samples": (100, 9)}, "expected num_test of at least 10, got 9"),
    ],
)
def test_mistakes_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        make(**arguments).setup("fit")
