"""USPS and SVHN: what is in each split, and how the images are scaled."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from lightning_edge.batch_checks import check_batch
from lightning_edge.contracts import ClassificationBatch
from lightning_edge.data import SVHNDataModule, USPSDataModule
from lightning_edge.data.formats.svhn import read_svhn
from lightning_edge.data.formats.usps import read_usps
from lightning_edge.samples.svhn import sample_svhn
from lightning_edge.samples.usps import sample_usps

SPLITS = {"train": ("train", 0, 36), "val": ("train", 36, 40), "test": ("test", 0, 20)}
MODULES = [USPSDataModule, SVHNDataModule]
pytestmark = pytest.mark.usefixtures("sample_cache")


def make(kind, root=None, **arguments):
    return kind(root, **{"num_samples": (40, 20), "num_workers": 0, "batch_size": 8} | arguments)


@pytest.mark.parametrize("split", SPLITS)
def test_images_of_svhn_are_those_of_the_split(split):
    part, first, end = SPLITS[split]
    root = sample_svhn(40, 20)
    dataset, expected = make(SVHNDataModule, root).dataset(split), read_svhn(root / "svhn", part).at(slice(first, end))
    assert np.array_equal(dataset.images, expected.images)
    assert np.array_equal(dataset.labels, expected.labels)


@pytest.mark.parametrize(("scaled_px", "margin"), [(28, 2), (16, 8), (20, 6), (32, 0)])
@pytest.mark.parametrize("split", SPLITS)
def test_images_of_usps_are_those_of_the_split_scaled_and_padded(scaled_px, margin, split):
    part, first, end = SPLITS[split]
    root = sample_usps(40, 20)
    dataset, digits = make(USPSDataModule, root, scaled_px=scaled_px).dataset(split), read_usps(root / "usps", part)
    gray = torch.from_numpy(digits.images[first:end]).float()
    scaled = F.interpolate(gray[:, None], (scaled_px, scaled_px), mode="bilinear", align_corners=False)
    expected = F.pad(scaled, (margin,) * 4).expand(-1, 3, -1, -1).permute(0, 2, 3, 1)
    assert np.abs(dataset.images - expected.numpy()).max() <= 1  # rounded
    assert np.array_equal(dataset.labels, digits.labels[first:end])


@pytest.mark.parametrize("kind", MODULES)
def test_generated_images_take_the_place_of_root_and_batches_are_as_promised(kind):
    data = make(kind)
    data.prepare_data()
    data.setup("fit")
    data.setup("test")
    for loader, count in ((data.train_dataloader(), 32), (data.val_dataloader(), 4), (data.test_dataloader(), 20)):
        batches = [data.on_after_batch_transfer(batch, 0) for batch in loader]
        for batch in batches:
            check_batch(batch, ClassificationBatch)
        assert sum(len(batch["label"]) for batch in batches) == count


@pytest.mark.parametrize("kind", MODULES)
def test_fewer_images_are_part_of_more(kind):
    few, more = ({image.tobytes() for image in make(kind, num_train=n).dataset("train").images} for n in (5, 20))
    assert (len(few), len(more)) == (5, 20)
    assert few < more


@pytest.mark.parametrize("kind", MODULES)
def test_missing_files_are_named(kind, tmp_path):
    name = kind.__name__.removesuffix("DataModule").lower()
    with pytest.raises(FileNotFoundError, match=rf"{tmp_path}/{name}/\w*.*: there is no such file; download"):
        make(kind, tmp_path).setup("fit")


@pytest.mark.parametrize("scaled_px", [14, 27, 34])
def test_an_impossible_size_is_named(scaled_px):
    with pytest.raises(ValueError, match=f"expected scaled_px as an even number from 16 to 32, got {scaled_px}"):
        USPSDataModule(scaled_px=scaled_px)
