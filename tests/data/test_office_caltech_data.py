"""The data module of Office-Caltech10: its features, its splits and its errors."""

import numpy as np
import pytest
import torch
from scipy.stats import zscore
from sklearn.preprocessing import normalize

from lightning_edge.data import OfficeCaltechDataModule
from lightning_edge.data.formats.office_caltech import read_office_caltech
from lightning_edge.data.office_caltech import fifths
from lightning_edge.samples.office_caltech import sample_office_caltech

COUNTS = (60, 80, 50, 70)
DOMAINS = ("amazon", "Caltech10", "dslr", "webcam")


@pytest.fixture(scope="module")
def sample(sample_cache):
    return sample_office_caltech(COUNTS)


@pytest.mark.parametrize(("domain", "count"), list(zip(DOMAINS, COUNTS, strict=True)))
def test_arrays_are_the_whole_standardized_domain(domain, count, sample):
    features, labels = OfficeCaltechDataModule(domain, sample).arrays()
    raw = read_office_caltech(sample, domain)
    expected = zscore(normalize(raw.features, "l1"), ddof=0)
    assert features.shape == (count, 800)
    np.testing.assert_allclose(features, np.nan_to_num(expected), atol=1e-9)
    assert np.array_equal(labels, raw.labels)


def test_raw_features_are_those_of_the_file(sample):
    features, _ = OfficeCaltechDataModule("dslr", sample, standardize=False).arrays()
    assert np.array_equal(features, read_office_caltech(sample, "dslr").features)


def test_splits_share_no_image_and_are_the_whole_domain(sample):
    data = OfficeCaltechDataModule("dslr", sample, standardize=False)
    parts = {split: data.dataset(split) for split in ("train", "val", "test")}
    rows = [tuple(item["features"].tolist()) for part in parts.values() for item in (part[i] for i in range(len(part)))]
    features, labels = data.arrays()
    assert sorted(rows) == sorted(map(tuple, features.tolist()))
    assert {split: len(part) for split, part in parts.items()} == {"train": 30, "val": 10, "test": 10}
    for part in parts.values():
        assert len({int(part[i]["label"]) for i in range(len(part))}) == 10
    pairs = {tuple(row): label for row, label in zip(features.tolist(), labels.tolist(), strict=True)}
    item = parts["test"][3]
    assert pairs[tuple(item["features"].tolist())] == item["label"]


def test_splits_do_not_depend_on_the_seed(sample):
    first, second = (OfficeCaltechDataModule("dslr", sample, seed=seed) for seed in (0, 1))
    assert torch.equal(first.dataset("val").features, second.dataset("val").features)


def test_fifths_distribute_each_class_evenly():
    labels = np.repeat(np.arange(10), 8)
    numbers = fifths(labels)
    for label in range(10):
        assert set(np.bincount(numbers[labels == label], minlength=5)) == {1, 2}
    assert np.ptp(np.bincount(numbers)) == 0
    assert not np.array_equal(numbers, np.sort(numbers))


def test_a_domain_without_a_validation_image_is_refused(tmp_path):
    np.savez(tmp_path / "dslr_SURF_L10.npz", fts=np.eye(2), labels=[1, 1])
    data = OfficeCaltechDataModule("dslr", tmp_path)
    assert len(data.arrays()[0]) == 2
    with pytest.raises(ValueError, match="expected images of dslr for the val split, got too few"):
        data.dataset("val")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"num_samples": (5, 20, 20, 20)}, "num_samples of at least 10, got 5"), ({"batch_size": 0}, "batch_size")],
)
def test_mistakes_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        OfficeCaltechDataModule(**arguments)


def test_the_folder_of_the_user_may_be_abbreviated(sample, monkeypatch):
    monkeypatch.setenv("HOME", str(sample.parent))
    assert len(OfficeCaltechDataModule("amazon", f"~/{sample.name}").arrays()[1]) == 60
