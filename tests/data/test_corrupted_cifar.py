"""CIFAR spoiled in several ways: each image as its name says, dealt evenly, and always alike."""

from pathlib import Path

import albumentations as A
import numpy as np
import pytest
import torch
from jsonargparse import ArgumentParser

from lightning_edge.batch_checks import check_batch
from lightning_edge.contracts import ClassificationBatch
from lightning_edge.data import CIFARDataModule, CorruptedCIFARDataModule, RandomDomains
from lightning_edge.data.formats.cifar import read_cifar
from lightning_edge.data.images.corruptions import CORRUPTIONS, corrupt
from lightning_edge.data.loading import SampleRequest
from lightning_edge.samples.cifar import sample_cifar

REAL = Path(__file__).parents[3] / "shared/data/cifar10_subset"
SPLITS = ("train", "val", "test")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LIGHTNING_EDGE_CACHE", str(tmp_path_factory.mktemp("samples")))
        yield sample_cifar(600, 240, 10)


def make(root=None, **arguments):
    return CorruptedCIFARDataModule(root, **{"batch_size": 8, "num_workers": 0} | arguments)


def parsed(record):
    """Part of the archive, index in it and corruption, by an image's name."""
    place, corruption = record.name.split()
    part, index = place.split("-")
    assert record.attributes == {"corruption": corruption}
    return part, int(index), corruption


def images_by_name(data, split):
    records = data.records(split)
    assert len({record.name for record in records}) == len(records) == len(data.dataset(split))
    return {
        record.name: (image.tobytes(), label)
        for record, image, label in zip(records, data.dataset(split).images, data.dataset(split).labels, strict=True)
    }


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("severity", [2, 5])
def test_images_are_what_their_names_say(split, severity, root):
    data = make(root, severity=severity)
    dataset = data.dataset(split)
    archive = {part: read_cifar(root, 10, part) for part in ("train", "test")}
    for item_index, (part, index, corruption) in enumerate(map(parsed, data.records(split))):
        images, labels = archive[part]
        item = dataset[item_index]
        noise = np.random.default_rng([("train", "test").index(part), index])
        expected = corrupt(images[index], corruption, severity, noise)
        assert np.array_equal(item["image"].permute(1, 2, 0), expected)
        assert item["label"] == labels[index]
        assert item["domain"] == CORRUPTIONS.index(corruption)
        assert item["domain_embedding"].tolist() == [float(corruption == name) for name in CORRUPTIONS]


def test_noise_differs_from_image_to_image(root):
    data, clean = make(root, corruptions=("noise",)), make(root, corruptions=("none",))
    noise = [data.dataset(split).images.astype(int) - clean.dataset(split).images for split in ("train", "test")]
    inner = [part[:, 8:24, 8:24].reshape(len(part), -1) for part in noise]  # of 600 images none is wholly cut there
    assert len({row.tobytes() for part in inner for row in part}) == sum(map(len, inner))


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("num_classes", [10, 100])
def test_uncorrupted_it_is_cifar(split, num_classes, sample_cache):
    arguments = {"num_classes": num_classes, "num_samples": (400, 200), "val_fraction": 0.25, "train_fraction": 0.5}
    ours = make(corruptions=("none",), **arguments)
    theirs = CIFARDataModule(num_workers=0, **arguments)
    assert np.array_equal(ours.dataset(split).images, theirs.dataset(split).images)
    assert np.array_equal(ours.dataset(split).labels, theirs.dataset(split).labels)
    assert ours.class_names == theirs.class_names
    for index in (0, 7):
        items = [data.dataset(split)[SampleRequest(index, 3, 0)]["image"] for data in (ours, theirs)]
        assert torch.equal(*items)


def check_dealt_evenly(data, split, most_apart):
    dataset = data.dataset(split)
    table = np.zeros((10, len(data.corruptions)), int)
    np.add.at(table, (dataset.labels, dataset.domains.domain.numpy()), 1)
    assert np.ptp(table, axis=1).max() <= most_apart, table
    assert np.ptp(table.sum(0)) <= 2 * most_apart, table
    assert table.min() > 0


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("num_corruptions", [2, 5, 6])
def test_every_class_has_its_share_of_each_corruption(split, num_corruptions, root):
    check_dealt_evenly(make(root, corruptions=CORRUPTIONS[:num_corruptions], val_fraction=0.2), split, 1)


@pytest.mark.skipif(not REAL.is_dir(), reason="needs real CIFAR-10")
@pytest.mark.parametrize("split", SPLITS)
def test_so_it_is_of_real_images(split):
    data = make(REAL)
    assert len(data.dataset(split)) == {"train": 9000, "val": 1000, "test": 2000}[split]
    check_dealt_evenly(data, split, 1)


def test_an_image_always_looks_the_same(root):
    """Neither the seed nor the fractions change it, nor whether it is for training or validation."""
    whole = images_by_name(make(root, val_fraction=0.0), "train")
    assert len(whole) == 600
    seen = {}
    for seed, (val_fraction, train_fraction) in enumerate([(0.1, 1.0), (0.3, 0.4)], start=1):
        data = make(root, val_fraction=val_fraction, train_fraction=train_fraction, seed=seed)
        train, val = images_by_name(data, "train"), images_by_name(data, "val")
        assert train.keys().isdisjoint(val)
        assert (train | val).items() <= whole.items()
        seen |= train | val
        assert images_by_name(data, "test") == images_by_name(make(root), "test")
    assert seen.keys() == whole.keys()


def test_without_a_held_out_part_validation_is_on_the_test_images(root):
    data = make(root, val_fraction=0.0)
    assert data.records("val") == data.records("test")
    assert {parsed(record)[0] for record in data.records("val")} == {"test"}
    assert np.array_equal(data.dataset("val").images, data.dataset("test").images)


def test_domains_have_the_order_that_was_asked_for(root):
    data = make(root, corruptions=("dark", "none", "blur"))
    assert data.domain_names == ("dark", "none", "blur")
    assert data.embedding_features == 3
    corruptions = [parsed(record)[2] for record in data.records("train")]
    assert data.dataset("train").domains.domain.tolist() == [data.domain_names.index(name) for name in corruptions]
    assert make(root).domain_names == CORRUPTIONS, "one module's choice is not another's"


def test_augmentation_comes_after(root):
    """A window that reaches over the border shows black, not black that was made noisy."""
    data = make(root, corruptions=("noise", "none"))
    dataset = data.dataset("train")
    index = [parsed(record)[2] for record in data.records("train")].index("noise")
    padded = np.pad(dataset.images[index], ((4, 4), (4, 4), (0, 0)))
    windows = {
        np.ascontiguousarray(image[y : y + 32, x : x + 32]).tobytes()
        for image in (padded, padded[:, ::-1])
        for y in range(9)
        for x in range(9)
    }
    seen = {dataset[SampleRequest(index, seed, 0)]["image"].permute(1, 2, 0).numpy().tobytes() for seed in range(40)}
    assert seen <= windows
    assert len(seen) > 25
    plain = make(root, corruptions=("noise", "none"), train_transform=A.NoOp()).dataset("train")
    assert np.array_equal(plain[SampleRequest(index, 1, 0)]["image"].permute(1, 2, 0), dataset.images[index])


def test_batches_are_as_promised(root):
    data = make(root)
    for loader in (data.train_dataloader(), data.val_dataloader(), data.test_dataloader()):
        check_batch(data.on_after_batch_transfer(next(iter(loader)), 0), ClassificationBatch)


def test_other_partitions_go(root):
    data = make(root, partition=RandomDomains(2))
    assert set(data.dataset("train").domains.domain.tolist()) == {0, 1}


def test_corruptions_are_chosen_on_the_command_line(root):
    parser = ArgumentParser()
    parser.add_subclass_arguments(CorruptedCIFARDataModule, "data")
    arguments = [f"--data={CorruptedCIFARDataModule.__module__}.CorruptedCIFARDataModule", f"--data.root={root}"]
    parsed_arguments = parser.parse_args([*arguments, "--data.corruptions=[dark, none]", "--data.severity=2"])
    data = parser.instantiate(parsed_arguments).data
    assert (data.domain_names, data.severity) == (("dark", "none"), 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"corruptions": ("none", "fog")}, r"expected corruptions among \['none', 'noise', .*\], got 'fog'"),
        ({"corruptions": ()}, r"expected one or more corruptions without duplicates, got \[\]"),
        ({"corruptions": ("dark", "dark")}, r"without duplicates, got \['dark', 'dark'\]"),
        ({"severity": 6}, r"expected severity within \[1, 5\], got 6"),
        ({"val_fraction": 1.0}, r"expected val_fraction within \[0, 1\), got 1.0"),
    ],
)
def test_mistakes_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        make(**arguments)
