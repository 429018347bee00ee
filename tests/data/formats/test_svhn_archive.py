"""Files of SVHN: read as by torchvision, and faulty ones named."""

import shutil

import numpy as np
import pytest
from scipy.io import savemat
from torchvision.datasets import SVHN

from lightning_edge.data.formats.svhn import read_svhn
from lightning_edge.samples.svhn import sample_svhn


@pytest.fixture(scope="module")
def sample(sample_cache):
    return sample_svhn(40, 20) / "svhn"


@pytest.mark.parametrize("part", ["train", "test"])
def test_it_is_read_as_torchvision_reads_it(part, sample, monkeypatch):
    monkeypatch.setattr(SVHN, "_check_integrity", lambda self: True)  # of the sums of the real files
    expected, (images, labels) = SVHN(sample, part), read_svhn(sample, part)
    assert np.array_equal(images.transpose(0, 3, 1, 2), expected.data)
    assert np.array_equal(labels, expected.labels)
    assert set(labels.tolist()) == set(range(10))
    assert (images.dtype, labels.dtype) == (np.uint8, np.int64)
    assert images.flags.c_contiguous


def test_a_missing_file_is_named(sample, tmp_path):
    shutil.copy(sample / "train_32x32.mat", tmp_path)
    with pytest.raises(
        FileNotFoundError, match=r"test_32x32.mat: there is no such file; download it from http://ufldl"
    ):
        read_svhn(tmp_path, "test")


X, Y = np.zeros((32, 32, 3, 5), np.uint8), np.array([[1], [2], [3], [9], [10]], np.uint8)
FAULTS = {
    "other names": ({"images": X, "y": Y}, r"expected the arrays \['X', 'y'\], got no X"),
    "floats": (
        {"X": X / 2 + 0.5, "y": Y},
        r"expected X as bytes of shape \(32, 32, 3, n\), got float64 \(32, 32, 3, 5\)",
    ),
    "another order": ({"X": X.transpose(3, 0, 1, 2), "y": Y}, r"of shape \(32, 32, 3, n\), got uint8 \(5, 32, 32, 3\)"),
    "another size": ({"X": X[:28, :28], "y": Y}, r"got uint8 \(28, 28, 3, 5\)"),
    "one image": ({"X": X[..., 0], "y": Y[:1]}, r"got uint8 \(32, 32, 3\)"),
    "too few classes": ({"X": X, "y": Y[:4]}, "expected a class in y for each of 5 images, got 4"),
    "a class 0": ({"X": X, "y": Y - 1}, "expected classes from 1 to 10 in y, got 0"),
    "a class 11": ({"X": X, "y": Y + 1}, "expected classes from 1 to 10 in y, got 11"),
    "half a class": ({"X": X, "y": Y / 2}, r"expected classes from 1 to 10 in y, got 0.5"),
    "no number as class": ({"X": X, "y": np.where(Y == 3, np.nan, Y)}, "expected classes from 1 to 10 in y, got nan"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_file_is_named(fault, tmp_path):
    arrays, message = FAULTS[fault]
    savemat(tmp_path / "train_32x32.mat", arrays, do_compression=True)
    with pytest.raises(ValueError, match=f"train_32x32.mat: .*{message}"):
        read_svhn(tmp_path, "train")
