"""CIFAR as it is published, real and generated, and archives that are not what they should be."""

import gc
import os
import pickle
import random
import weakref
from pathlib import Path

import albumentations as A
import numpy as np
import pytest
import torch
from torchvision.datasets import CIFAR10, CIFAR100

from lightning_edge.data import CIFARDataModule
from lightning_edge.data.formats.cifar import read_cifar
from lightning_edge.data.loading import SampleRequest
from lightning_edge.samples.cifar import sample_cifar

_REAL = Path(__file__).parents[3] / "shared/data/cifar10_subset"
KINDS = {10: ("cifar-10-batches-py", "labels", ("test_batch",)), 100: ("cifar-100-python", "fine_labels", ("test",))}


@pytest.fixture(scope="module")
def roots(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LIGHTNING_EDGE_CACHE", str(tmp_path_factory.mktemp("samples")))
        yield {classes: sample_cifar(200, 100, classes) for classes in (10, 100)}


def make(root=None, **arguments):
    return CIFARDataModule(root, **{"batch_size": 8, "num_workers": 0} | arguments)


def write_binary(root, num_classes, labels, images):
    """The same images in the binary version."""
    folder, names = {
        10: ("cifar-10-batches-bin", [f"data_batch_{number}.bin" for number in range(1, 6)]),
        100: ("cifar-100-binary", ["train.bin"]),
    }[num_classes]
    (root / folder).mkdir()
    rows = images.transpose(0, 3, 1, 2).reshape(len(images), -1)
    heads = [labels] if num_classes == 10 else [labels // 10, labels]
    records = np.concatenate([*(head[:, None].astype(np.uint8) for head in heads), rows], 1)
    for name, part in zip(names, np.array_split(records, len(names)), strict=True):
        part.tofile(root / folder / name)


@pytest.mark.parametrize(("num_classes", "theirs"), [(10, CIFAR10), (100, CIFAR100)])
@pytest.mark.parametrize("split", ["train", "test"])
def test_it_is_read_as_torchvision_reads_it(num_classes, theirs, split, roots, monkeypatch):
    monkeypatch.setattr(theirs, "_check_integrity", lambda self: True)  # it knows the sums of the real files only
    theirs_read = theirs.__new__(theirs)
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda *args: True)
    theirs_read.__init__(str(roots[num_classes]), train=split == "train")
    images, labels = read_cifar(roots[num_classes], num_classes, split)
    assert np.array_equal(images, theirs_read.data)
    assert labels.tolist() == theirs_read.targets
    assert theirs_read.classes == list(make(num_classes=num_classes).class_names)


@pytest.mark.skipif(not _REAL.is_dir(), reason="needs real CIFAR-10")
def test_real_files_of_python_2_are_read():
    images, labels = read_cifar(_REAL, 10, "train")
    assert images.shape == (10_000, 32, 32, 3)
    assert np.bincount(labels).tolist() == [1000] * 10
    data = make(_REAL)
    data.setup("fit")
    assert len(data.dataset("train")) == 9000
    assert data.class_names[:2] == ("airplane", "automobile")


@pytest.mark.parametrize("num_classes", [10, 100])
def test_the_binary_version_is_the_same(num_classes, roots, tmp_path):
    images, labels = read_cifar(roots[num_classes], num_classes, "train")
    write_binary(tmp_path, num_classes, labels, images)
    again = read_cifar(tmp_path, num_classes, "train")
    assert np.array_equal(again.images, images)
    assert np.array_equal(again.labels, labels)


def test_the_folder_itself_is_a_root_too(roots):
    assert len(read_cifar(roots[10] / "cifar-10-batches-py", 10, "test").labels) == 100


def test_splits_share_no_image_and_are_balanced(roots):
    data = make(roots[10], val_fraction=0.2)
    train, val = data.dataset("train"), data.dataset("val")
    assert (len(train), len(val), len(data.dataset("test"))) == (160, 40, 100)
    assert np.bincount(train.labels).tolist() == [16] * 10
    assert np.bincount(val.labels).tolist() == [4] * 10
    assert {image.tobytes() for image in train.images}.isdisjoint(image.tobytes() for image in val.images)


def test_a_fraction_is_part_of_a_larger_one_whatever_the_seed(roots):
    chosen = {
        fraction: {
            image.tobytes() for image in make(roots[10], train_fraction=fraction, seed=seed).dataset("train").images
        }
        for seed, fraction in enumerate((0.25, 0.5, 1.0))
    }
    assert [len(chosen[fraction]) for fraction in (0.25, 0.5, 1.0)] == [50, 90, 180]
    assert chosen[0.25] < chosen[0.5] < chosen[1.0]


def test_without_a_held_out_part_validation_is_on_the_test_images(roots):
    data = make(roots[10], val_fraction=0)
    assert len(data.dataset("train")) == 200
    assert np.array_equal(data.dataset("val").images, data.dataset("test").images)


def test_training_images_are_cropped_and_flipped_and_follow_from_the_seed(roots):
    dataset = make(roots[10]).dataset("train")
    seen = [dataset[SampleRequest(3, seed, 0)]["image"] for seed in range(50)]
    assert torch.equal(dataset[SampleRequest(3, 7, 0)]["image"], seen[7])
    assert len({image.numpy().tobytes() for image in seen}) > 40
    original = torch.from_numpy(dataset.images[3]).permute(2, 0, 1)
    padded = torch.nn.functional.pad(original, (4, 4, 4, 4))
    windows = [p[:, y : y + 32, x : x + 32] for p in (padded, padded.flip(2)) for y in range(9) for x in range(9)]
    assert all(any(torch.equal(image, window) for window in windows) for image in seen)
    plain = make(roots[10], train_transform=A.NoOp()).dataset("train")
    assert torch.equal(plain[SampleRequest(3, 7, 0)]["image"], original)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_batches_are_those_of_one_image_after_another(num_workers, roots):
    """Seeds from numpy and images from albumentations, one at a time, for every image of two epochs."""
    seed = 5
    data = make(roots[10], num_workers=num_workers, seed=seed)
    loader, dataset = data.train_dataloader(), data.dataset("train")
    steps = A.Compose([A.Pad(4), A.RandomCrop(32, 32), A.HorizontalFlip(p=0.5), A.ToFloat(max_value=255)])

    def entropy(epoch, purpose, value):
        return int(np.random.SeedSequence((seed, epoch, 0, purpose, value)).generate_state(1, np.uint64)[0])

    for epoch in range(2):
        loader.sampler.set_epoch(epoch)
        order = np.random.default_rng(entropy(epoch, 1, 0)).permutation(180)
        for number, batch in enumerate(loader):
            batch = data.on_after_batch_transfer(batch, 0)
            for place, index in enumerate(order[8 * number : 8 * number + 8]):
                steps.set_random_state(np.random.default_rng(0), random.Random(entropy(epoch, 2, int(index))))
                expected = steps(image=dataset.images[index])["image"].transpose(2, 0, 1)
                np.testing.assert_array_equal(batch["image"][place].numpy(), expected)
                assert batch["label"][place] == dataset.labels[index]
        assert number == 180 // 8 - 1


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_batch_is_its_items(split, roots):
    dataset = make(roots[10], train_transform=A.HorizontalFlip()).dataset(split)
    for items in ([3, 0, 99], [SampleRequest(3, 1, 0), SampleRequest(0, 2, 0), SampleRequest(99, 3, 0)]):
        for whole, item in zip(dataset.__getitems__(items), items, strict=True):
            alone = dataset[item]
            assert whole.keys() == alone.keys()
            assert all(torch.equal(whole[key], alone[key]) for key in alone)


def test_a_hostile_archive_runs_nothing(roots, tmp_path):
    class Attack:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'attacked'}",)

    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    (folder / "test_batch").write_bytes(pickle.dumps({"data": Attack(), "labels": [0]}, protocol=2))
    with pytest.raises(ValueError, match=r"test_batch: expected a pickle of arrays, .*system, which could run code"):
        read_cifar(tmp_path, 10, "test")
    assert not (tmp_path / "attacked").exists()


ROW = np.zeros((2, 3072), np.uint8)
FAULTS = {
    "a list": (pickle.dumps([1, 2]), "expected 'data' of uint8 .* got list"),
    "no images": (pickle.dumps({"labels": [0, 1]}), "expected 'data' of uint8"),
    "too few labels": (pickle.dumps({"data": ROW, "labels": [0]}, 2), r"got \{'data': \(2, 3072\), 'labels': 'list'\}"),
    "floats": (pickle.dumps({"data": ROW / 2, "labels": [0, 1]}, 2), "expected 'data' of uint8"),
    "objects": (pickle.dumps({"data": ROW.astype("O"), "labels": [0, 1]}, 2), "expected 'data' of uint8"),
    "words": (pickle.dumps({"data": ROW, "labels": [0, "1"]}, 2), "expected whole numbers as 'labels'"),
    "other classes": (
        pickle.dumps({"data": ROW, "labels": [0, 10]}, 2),
        r"expected classes within \[0, 10\), got 0 to 10",
    ),
    "cut short": (
        pickle.dumps({"data": ROW, "labels": [0, 1]}, 2)[:900],
        "cannot be read .* copy or download it again",
    ),
    "empty": (b"", "cannot be read"),
    "no pickle": (b"\x89PNG\r\n", "cannot be read"),
    "a call of ndarray": (b"cnumpy\nndarray\n((I1000000000000\ntR.", "cannot be read|asks for"),
    "an encoding": (b"c_codecs\nencode\n(Va\nVrot13\ntR.", "asks for the encoding 'rot13'"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_archive_is_named(fault, tmp_path):
    content, message = FAULTS[fault]
    (tmp_path / "test_batch").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_cifar(tmp_path, 10, "test")


def test_a_cut_binary_file_is_named(tmp_path):
    (tmp_path / "test_batch.bin").write_bytes(bytes(3073 + 5))
    with pytest.raises(ValueError, match="expected records of 3073 bytes, got 3078 bytes"):
        read_cifar(tmp_path, 10, "test")


def test_missing_files_are_named(roots, tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"no file of CIFAR-10 in .* download it from https://www\.cs\.toronto\.edu"
    ):
        make(tmp_path).setup("fit")
    (tmp_path / "cifar-10-python.tar.gz").touch()
    with pytest.raises(FileNotFoundError, match=r"unpack .*cifar-10-python\.tar\.gz"):
        make(tmp_path).setup("fit")
    (tmp_path / "data_batch_1").touch()
    with pytest.raises(FileNotFoundError, match=r"but \['data_batch_2', 'data_batch_3'"):
        make(tmp_path).setup("fit")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"val_fraction": 1.0}, r"expected val_fraction within \[0, 1\), got 1.0"),
        ({"train_fraction": 0.0}, r"expected train_fraction within \(0, 1\], got 0.0"),
        ({"num_samples": (5, 100)}, "expected num_train of at least 10, got 5"),
    ],
)
def test_mistakes_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        make(**arguments).setup("fit")


def test_a_share_that_leaves_nothing_is_named(roots):
    with pytest.raises(ValueError, match=r"expected val_fraction to leave images to train on, got 0\.99 of 200 images"):
        make(roots[10], val_fraction=0.99).setup("fit")


def test_the_smallest_fraction_is_an_image_of_each_class(roots):
    assert np.bincount(make(roots[10], train_fraction=0.001).dataset("train").labels).tolist() == [1] * 10


def test_a_loader_and_its_workers_end_with_the_last_reference_to_it(roots):
    """In a cycle they would wait for the garbage collector, and their shutdown then for seconds."""
    data = make(roots[10])
    data.setup("fit")
    loader = data.train_dataloader()
    next(iter(loader))
    position, freed = data.state_dict(), weakref.ref(loader)
    gc.disable()
    try:
        del loader
        assert freed() is None
    finally:
        gc.enable()
    assert position["train_loader"]["samples"] == 8
    assert data.state_dict() == {}
    assert pickle.loads(pickle.dumps(data)).state_dict() == {}
