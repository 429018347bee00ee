"""HDF5 files: what they may not do to a reader. What is read from them is tested with the data sets."""

import re
import zlib

import numpy as np
import pytest

from lightning_edge.data.formats.hdf5 import read_hdf5

h5py = pytest.importorskip("h5py")
MAX_BYTES = 2**22


@pytest.fixture
def path(tmp_path):
    return tmp_path / "file.h5"


def fail(path, message, name="a"):
    with pytest.raises(ValueError, match=f"^{re.escape(str(path))}: {message}"):
        read_hdf5(path, (name,), MAX_BYTES, "download it")


@pytest.mark.parametrize("options", [{}, {"compression": "gzip", "chunks": (7, 3)}, {"fletcher32": True}])
def test_arrays_are_read(options, path):
    values = np.random.default_rng(0).normal(size=(20, 5))
    with h5py.File(path, "w") as file:
        file.create_dataset("group/deeper/a", data=values, **options)
        file["b"] = np.arange(3)
    a, b = read_hdf5(path, ("group/deeper/a", "b"), MAX_BYTES, "download it")
    assert np.array_equal(a, values)
    assert b.tolist() == [0, 1, 2]


def test_a_declared_size_beyond_the_limit_is_refused(path):
    with h5py.File(path, "w") as file:
        file.create_dataset("a", (2**40,), "u1", chunks=(2**10,))
    assert path.stat().st_size < 2**14
    fail(path, "expected /a of at most 4194304 bytes, got a file that declares 1099511627776")


def test_a_large_piece_of_a_small_array_is_refused(path):
    with h5py.File(path, "w") as file:
        file.create_dataset("a", (10,), "u1", chunks=(2**30,), maxshape=(None,), compression="gzip")
    fail(path, "expected /a of at most 4194304 bytes, got a file that declares 1073741824")


def test_a_piece_that_unpacks_to_more_than_it_declares_is_refused(path):
    with h5py.File(path, "w") as file:
        dataset = file.create_dataset("a", (10,), "u1", chunks=(10,), compression="gzip")
        dataset.id.write_direct_chunk((0,), zlib.compress(bytes(2**26)))
    fail(path, "expected pieces of 10 bytes when they are unpacked, got more")


def test_a_damaged_piece_is_refused(path):
    with h5py.File(path, "w") as file:
        dataset = file.create_dataset("a", (10,), "u1", chunks=(10,), compression="gzip")
        dataset.id.write_direct_chunk((0,), b"no stream")
    fail(path, "cannot be read as HDF5 .*; download it")


def test_an_unusual_compression_is_refused(path):
    with h5py.File(path, "w") as file:
        file.create_dataset("a", data=np.zeros(100), compression="lzf")
    fail(path, r"expected /a without compression or with gzip, got filters \[32000\]")


def test_nothing_outside_the_file_is_read(path, tmp_path):
    other = tmp_path / "other"
    other.write_bytes(b"secret content")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["a"] = np.arange(3)
    with h5py.File(path, "w") as file:
        file["linked"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "a")
        file["soft"] = h5py.SoftLink("/inside")
        file["inside"] = np.arange(3)
        file.create_dataset("stored", (14,), "u1", external=[(str(other), 0, 14)])
        layout = h5py.VirtualLayout((3,), int)
        layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "a", (3,))
        file.create_virtual_dataset("virtual", layout)
    for name in ("linked", "soft"):
        fail(path, f"expected the array {name}, got none; download it", name)
    for name in ("stored", "virtual"):
        fail(path, f"expected {name} as an array of numbers within the file, got another item", name)


@pytest.mark.parametrize("name", ["group", "none", "inside/a", "group/none"])
def test_a_name_of_no_array_is_refused(name, path):
    with h5py.File(path, "w") as file:
        file.create_group("group")
        file["inside"] = np.arange(3)
    fail(path, f"expected (the array )?{name}", name)
