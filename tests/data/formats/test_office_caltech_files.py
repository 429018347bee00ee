"""Files of Office-Caltech10 in all their formats: read as others read them, and refused where they are faulty."""

import io
import re
import zipfile

import h5py
import numpy as np
import pytest
from hostile import NO_FILES, peak_bytes, put
from scipy.io import loadmat, savemat

from lightning_edge.data.formats.office_caltech import read_office_caltech
from lightning_edge.samples.office_caltech import sample_office_caltech

FEATURES = np.random.default_rng(0).integers(0, 9, (12, 800), dtype=np.uint8)
LABELS = (np.arange(12) % 10 + 1.0)[:, None]


def as_mat(features=FEATURES, labels=LABELS, **options):
    file = io.BytesIO()
    savemat(file, {"fts": features, "labels": labels}, **options)
    return file.getvalue()


def as_hdf5(features=FEATURES, labels=LABELS, userblock_size=512, **options):
    """As MATLAB writes it: axes in reverse order, after a header of its own."""
    file = io.BytesIO()
    with h5py.File(file, "w", userblock_size=userblock_size) as content:
        content.create_dataset("fts", data=features.T, **options)
        content["labels"] = labels.T
    return file.getvalue()


def as_npz(features=FEATURES, labels=LABELS):
    file = io.BytesIO()
    np.savez_compressed(file, fts=features, labels=labels)
    return file.getvalue()


FORMATS = {
    "MATLAB 6": ("amazon_SURF_L10.mat", as_mat()),
    "MATLAB 7": ("amazon_SURF_L10.mat", as_mat(do_compression=True)),
    "MATLAB 7.3": ("amazon_SURF_L10.mat", as_hdf5()),
    "MATLAB 7.3, compressed": ("amazon_SURF_L10.mat", as_hdf5(compression="gzip", chunks=(100, 5))),
    "HDF5": ("amazon_SURF_L10.mat", as_hdf5(userblock_size=0)),
    "NumPy": ("amazon_SURF_L10.npz", as_npz()),
    "labels in a row": ("amazon_SURF_L10.mat", as_mat(labels=LABELS.T)),
    "labels without a second axis": ("amazon_SURF_L10.npz", as_npz(labels=LABELS[:, 0].astype(np.int16))),
    "double precision": ("amazon_SURF_L10.mat", as_mat(FEATURES.astype(float))),
}


@pytest.mark.parametrize("kind", FORMATS)
def test_all_formats_hold_the_same(kind, tmp_path):
    name, content = FORMATS[kind]
    (tmp_path / name).write_bytes(content)
    features, labels = read_office_caltech(tmp_path, "amazon")
    assert np.array_equal(features, FEATURES)
    assert features.dtype == np.float64
    assert labels.tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]
    assert labels.dtype == np.int64


@pytest.mark.parametrize("domain", ["amazon", "Caltech10", "dslr", "webcam"])
def test_generated_files_are_read_as_scipy_reads_them(domain, sample_cache):
    root = sample_office_caltech((20, 30, 40, 50))
    theirs = loadmat(root / f"{domain}_SURF_L10.mat")
    features, labels = read_office_caltech(root, domain)
    assert np.array_equal(features, theirs["fts"])
    assert np.array_equal(labels, theirs["labels"][:, 0] - 1)


@pytest.mark.parametrize("name", ["Caltech10_decaf6.mat", "Caltech10_decaf6.npz"])
def test_other_features_may_have_any_width(name, tmp_path):
    features = np.random.default_rng(0).normal(size=(12, 4096)).astype(np.float32)
    (tmp_path / name).write_bytes((as_mat if name.endswith("mat") else as_npz)(features))
    assert np.array_equal(read_office_caltech(tmp_path, "Caltech10", "decaf6").features, features)


def bomb(name="fts.npy", size=2**24):
    """A small archive that declares to unpack to much more."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, bytes(size))
    return file.getvalue()


def declared_npy(shape):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        head = io.BytesIO()
        np.lib.format.write_array_header_1_0(head, {"descr": "<f8", "fortran_order": False, "shape": shape})
        archive.writestr("fts.npy", head.getvalue())
    return file.getvalue()


def other_keys():
    file = io.BytesIO()
    savemat(file, {"feas": FEATURES, "label": LABELS})
    return file.getvalue()


def hdf5_of(fill):
    file = io.BytesIO()
    with h5py.File(file, "w") as content:
        fill(content)
    return file.getvalue()


WITH_NAN = np.where(FEATURES == 3, np.nan, FEATURES)
FAULTS = {
    "other keys": ("mat", other_keys(), r"expected the arrays \['fts', 'labels'\], got no"),
    "other keys in HDF5": ("mat", hdf5_of(lambda c: c.create_dataset("x", data=[1.0])), "expected the array fts"),
    "other keys in NumPy": ("npz", bomb("x.npy", 8), "expected the arrays fts and labels .*fts"),
    "truncated": ("mat", as_mat()[:5000], "ends within an element; copy or download it again"),
    "truncated, compressed": ("mat", as_mat(do_compression=True)[:3000], "ends within an element|its end is missing"),
    "truncated HDF5": ("mat", as_hdf5()[:4000], "cannot be read as HDF5"),
    "truncated NumPy": ("npz", as_npz()[:3000], "cannot be read as a NumPy archive"),
    "empty": ("mat", b"", "expected a little-endian MATLAB file"),
    "a picture": ("mat", b"\x89PNG\r\n\x1a\n" + bytes(600), "expected a little-endian MATLAB file"),
    "text": ("npz", b"no archive", "cannot be read as a NumPy archive"),
    "too few labels": ("mat", as_mat(labels=LABELS[:11]), "a class in labels for each of 12 images, got 11"),
    "transposed": ("mat", as_mat(FEATURES.T), "a class in labels for each of 800 images, got 12"),
    "one image": ("mat", as_mat(FEATURES[:1], LABELS[:1]), r"two images or more, got shape \(1, 800\)"),
    "no features": ("npz", as_npz(FEATURES[:, :0]), r"got shape \(12, 0\)"),
    "a third axis": ("npz", as_npz(FEATURES[..., None]), r"got shape \(12, 800, 1\)"),
    "NaN": ("mat", as_mat(WITH_NAN), "expected fts to be finite, got NaN"),
    "infinity": ("npz", as_npz(np.where(FEATURES == 3, np.inf, FEATURES)), "expected fts to be finite"),
    "class 0": ("mat", as_mat(labels=LABELS - 1), r"whole numbers from 1 to 10 in labels, got 0\.0|got 0"),
    "class 11": ("mat", as_hdf5(labels=LABELS + 1), r"from 1 to 10 in labels, got 11"),
    "half a class": ("npz", as_npz(labels=LABELS + 0.5), r"from 1 to 10 in labels, got 1\.5"),
    "NaN as a class": ("npz", as_npz(labels=LABELS * np.nan), "from 1 to 10 in labels, got nan"),
    "texts as classes": ("npz", as_npz(labels=LABELS.astype(str)), "labels.npy is an array of <U"),
    "objects": ("npz", as_npz(labels=LABELS.astype(object)), "labels.npy is an array of object"),
    "complex": ("mat", as_mat(FEATURES + 1j), "expected fts to be an array of real numbers"),
    "a large shape": ("npz", declared_npy((2**20, 2**20)), "declares the shape"),
    "a bomb": ("npz", bomb(), "would unpack to 16777216 bytes"),
    "a compressed bomb": (
        "mat",
        as_mat(np.zeros((2**12, 2**12), np.uint8), np.ones((2**12, 1)), do_compression=True),
        "expected at most .* bytes when it is unpacked, got more",
    ),
    "a large HDF5": (
        "mat",
        hdf5_of(
            lambda c: [
                c.create_dataset("fts", (2**20, 2**20), "f8", chunks=(8, 8)),
                c.create_dataset("labels", data=[1]),
            ]
        ),
        "expected /fts of at most .* bytes, got a file that declares",
    ),
    "a link": (
        "mat",
        hdf5_of(
            lambda c: [
                c.__setitem__("fts", h5py.ExternalLink("/etc/passwd", "x")),
                c.create_dataset("labels", data=[1]),
            ]
        ),
        "expected the array fts, got none",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_one_error_that_names_the_file(fault, tmp_path, monkeypatch):
    monkeypatch.setattr("lightning_edge.data.formats.office_caltech._MAX_BYTES", 2**20)  # so that bombs can be small
    suffix, content, message = FAULTS[fault]
    path = tmp_path / f"dslr_SURF_L10.{suffix}"
    path.write_bytes(content)
    error = None

    def read():
        nonlocal error
        with pytest.raises(ValueError, match=re.compile(f"{path.name}: .*({message})")) as caught:
            read_office_caltech(tmp_path, "dslr")
        error = caught.value

    assert peak_bytes(read) < 2**22
    assert "\n" not in str(error)


@pytest.mark.parametrize("suffix", ["mat", "npz"])
@pytest.mark.parametrize("kind", NO_FILES)
def test_what_is_no_file_is_not_opened(suffix, kind, tmp_path):
    path = tmp_path / f"webcam_SURF_L10.{suffix}"
    message = put(kind, path)
    with pytest.raises((ValueError, OSError), match=message):
        read_office_caltech(tmp_path, "webcam")


def test_a_missing_file_is_named_with_its_source(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"expected amazon_SURF_L10\.mat or amazon_SURF_L10\.npz.*github\.com"):
        read_office_caltech(tmp_path, "amazon")
