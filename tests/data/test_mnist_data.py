"""MNIST and MNIST-M as two data sets: which digits each split has, and that none is trained on in one and judged in
another."""

import shutil
from pathlib import Path

import albumentations as A
import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from lightning_edge.batch_checks import check_batch
from lightning_edge.contracts import ClassificationBatch
from lightning_edge.data import MNISTDataModule, MNISTMDataModule
from lightning_edge.data.formats.digits import read_mnist, read_mnist_m
from lightning_edge.data.images.digit_looks import BLUR_SIGMA_PX, check_look
from lightning_edge.data.loading import SampleRequest
from lightning_edge.samples.digits import sample_digits

REAL = Path(__file__).parents[3] / "shared/data"
SPLITS = ("train", "val", "test")
MODULES = {
    "mnist": MNISTDataModule,
    "mnist_m": MNISTMDataModule,
    "inverted": lambda root, **arguments: MNISTDataModule(root, "inverted", **arguments),
    "blurred": lambda root, **arguments: MNISTDataModule(root, "blurred", **arguments),
}


@pytest.fixture(scope="module")
def sample(sample_cache):
    return sample_digits(300, 100)


@pytest.fixture
def copy(sample, tmp_path):
    shutil.copytree(sample, tmp_path, dirs_exist_ok=True)
    return tmp_path


def make(name, root, **arguments):
    return MODULES[name](root, **{"num_workers": 0, "batch_size": 8} | arguments)


def look_of(digit, look):
    """Written independently of the library."""
    padded = np.zeros((32, 32))
    padded[2:30, 2:30] = digit
    if look == "inverted":
        padded = 255 - padded
    if look == "blurred":
        padded = gaussian_filter(padded, BLUR_SIGMA_PX, mode="mirror")
    return np.stack([padded] * 3, 2)


@pytest.mark.parametrize("look", ["plain", "inverted", "blurred"])
@pytest.mark.parametrize(
    ("split", "numbers", "numbers_of_other_looks"),
    [
        ("train", range(270), range(72)),
        ("val", range(270, 300), range(72, 80)),
        ("test", range(80, 100), range(80, 100)),
    ],
)
def test_images_are_those_of_the_split_in_the_look(look, split, numbers, numbers_of_other_looks, sample):
    dataset = MNISTDataModule(sample, look, num_workers=0).dataset(split)
    is_of_train_file = look == "plain" and split != "test"
    digits = read_mnist(sample / "mnist", "train" if is_of_train_file else "t10k")
    expected = numbers if look == "plain" else numbers_of_other_looks
    assert dataset.labels.tolist() == digits.labels[expected].tolist()
    for image, number in zip(dataset.images, expected, strict=True):
        difference = np.abs(image - look_of(digits.images[number], look)).max()
        assert difference <= (3 if look == "blurred" else 0)  # blurred by a kernel of finite width


@pytest.mark.parametrize(("split", "first", "end"), [("train", 0, 72), ("val", 72, 80), ("test", 80, 100)])
def test_images_of_mnist_m_are_those_of_the_split(split, first, end, sample):
    dataset, colored = make("mnist_m", sample).dataset(split), read_mnist_m(sample / "mnist_m")
    assert np.array_equal(dataset.images, colored.images[first:end])
    assert np.array_equal(dataset.labels, colored.labels[first:end])


def test_without_mnist_m_all_of_the_test_file_is_for_testing(copy):
    shutil.rmtree(copy / "mnist_m")
    data = make("mnist", copy)
    assert [len(data.dataset(split)) for split in SPLITS] == [270, 30, 100]
    with pytest.raises(FileNotFoundError, match=r"mnist_m_test_labels.txt: there is no such file; download it from"):
        make("inverted", copy).dataset("train")


def test_the_plain_look_needs_only_the_list_of_mnist_m(copy):
    shutil.rmtree(copy / "mnist_m/mnist_m_test")
    assert len(make("mnist", copy).dataset("test")) == 20


def test_mnist_m_needs_no_mnist(copy):
    shutil.rmtree(copy / "mnist")
    assert len(make("mnist_m", copy).dataset("test")) == 20


def test_mnist_m_in_another_order_is_refused(copy):
    path = copy / "mnist_m/mnist_m_test_labels.txt"
    lines = path.read_text().splitlines()
    path.write_text("".join(f"{line[:-1]}{(int(line[-1]) + 1) % 10}\n" for line in lines))
    for name in ("mnist", "inverted"):
        with pytest.raises(ValueError, match="mnist_m: expected image k to be image k of MNIST's t10k"):
            make(name, copy).dataset("test")


@pytest.mark.parametrize("name", MODULES)
def test_fewer_images_are_part_of_more_whatever_the_seed(name, sample):
    def images(num_train, seed=0):
        return {image.tobytes() for image in make(name, sample, num_train=num_train, seed=seed).dataset("train").images}

    few, more, most = images(5), images(20, seed=1), images(None)
    assert (len(few), len(more)) == (5, 20)
    assert few < more < most
    assert images(10**6) == most


def test_a_few_images_are_not_the_first_ones(sample):
    dataset = make("mnist", sample, num_train=20).dataset("train")
    first = {image.tobytes() for image in make("mnist", sample).dataset("train").images[:20]}
    assert {image.tobytes() for image in dataset.images} != first


@pytest.mark.parametrize("name", MODULES)
def test_batches_are_as_promised(name, sample):
    data = make(name, sample)
    for loader in (data.train_dataloader(), data.val_dataloader(), data.test_dataloader()):
        batch = data.on_after_batch_transfer(next(iter(loader)), 0)
        check_batch(batch, ClassificationBatch)
        assert set(batch) == {"image", "label"}


def test_training_images_are_shifted_and_others_are_not(sample):
    data, plain = make("mnist", sample), make("mnist", sample, train_transform=A.NoOp())
    for split, changes in (("train", True), ("val", False)):
        images = {data.dataset(split)[SampleRequest(3, seed, 0)]["image"].numpy().tobytes() for seed in range(20)}
        assert (len(images) > 1) == changes
    images = plain.dataset("train")
    assert torch.equal(images[SampleRequest(3, 7, 0)]["image"], images[3]["image"])


def test_generated_images_take_the_place_of_root(sample_cache):
    for name, counts in (("mnist", [27, 3, 4]), ("mnist_m", [14, 2, 4]), ("blurred", [14, 2, 4])):
        data = make(name, None, num_samples=(30, 20))
        data.prepare_data()
        assert [len(data.dataset(split)) for split in SPLITS] == counts


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: MNISTDataModule(num_train=0), "expected num_train of at least 1, got 0"),
        (lambda: MNISTMDataModule(num_train=True), "expected a whole number as num_train, got True"),
        (
            lambda: check_look("upside down"),
            r"expected look to be one of \('plain', 'inverted', 'blurred'\), got 'upside down'",
        ),
    ],
)
def test_mistakes_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_too_few_images_to_split_are_named(copy):
    path = copy / "mnist_m/mnist_m_test_labels.txt"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:2]))
    with pytest.raises(ValueError, match=r"expected two training images or more for MNISTMDataModule, .* got 1"):
        make("mnist_m", copy).dataset("train")


@pytest.fixture(scope="module")
def real():
    """Digits of every split of every module, named by file and number; found by content, not by the module's words."""
    if not (REAL / "mnist_m").is_dir():
        pytest.skip("needs real MNIST and MNIST-M")
    number_of = {}
    for part in ("train", "t10k"):
        for number, image in enumerate(read_mnist(REAL / "mnist", part).images):
            number_of.setdefault(image.tobytes(), (part, number))
    colored = {image.tobytes(): ("t10k", number) for number, image in enumerate(read_mnist_m(REAL / "mnist_m").images)}

    def origin(name, image):
        if name == "mnist_m":
            return colored[image.tobytes()]
        gray = image[2:30, 2:30, 0]
        return number_of[(255 - gray if name == "inverted" else gray).tobytes()]

    return {
        (name, split): {origin(name, image) for image in make(name, REAL).dataset(split).images}
        for name in ("mnist", "mnist_m", "inverted")
        for split in SPLITS
    }


def test_no_real_digit_is_trained_on_in_one_module_and_judged_in_another(real):
    for (name, split), trained in real.items():
        for (other, other_split), judged in real.items():
            if split == "train" and other_split != "train":
                assert trained.isdisjoint(judged), (name, other, other_split)


def test_real_splits_have_the_stated_sizes_and_targets_share_no_digit_with_the_plain_training(real):
    counts = {name: [len(real[name, split]) for split in SPLITS] for name in ("mnist", "mnist_m", "inverted")}
    assert counts == {"mnist": [54000, 6000, 6000], "mnist_m": [3600, 400, 1000], "inverted": [3600, 400, 1000]}
    for name in ("mnist_m", "inverted"):
        assert real["mnist", "train"].isdisjoint(real[name, "train"])
