"""MATLAB files: read as by scipy, and faulty ones named."""

import io
import struct
import zlib

import numpy as np
import pytest
from hostile import peak_bytes
from scipy.io import loadmat, savemat

from lightning_edge.data.formats.mat import read_mat

MAX_BYTES = 2**20
REMEDY = "download it from here"
ARRAYS = {
    "a": np.arange(24, dtype=np.uint8).reshape(2, 3, 4),
    "b": np.array([[1.5, -2.5]]),
    "longer_than_four": np.array([[7]], np.int32),
    "i": np.arange(6, dtype=np.int64).reshape(3, 2),
    "f": np.linspace(0, 1, 5, dtype=np.float32)[:, None],
}


def mat(compresses=True, **arrays):
    file = io.BytesIO()
    savemat(file, arrays, do_compression=compresses)
    return file.getvalue()


def read(tmp_path, content, names, max_bytes=MAX_BYTES):
    path = tmp_path / "file.mat"
    path.write_bytes(content)
    return read_mat(path, names, max_bytes, REMEDY)


@pytest.mark.parametrize("compresses", [True, False])
def test_arrays_are_read_as_scipy_reads_them(compresses, tmp_path):
    content = mat(compresses, **ARRAYS)
    expected, actual = loadmat(io.BytesIO(content)), read(tmp_path, content, tuple(ARRAYS))
    assert actual.keys() == ARRAYS.keys()
    for name, values in actual.items():
        assert values.dtype == expected[name].dtype
        assert np.array_equal(values, expected[name])


def test_floats_that_are_stored_as_bytes_are_read(tmp_path):
    """MATLAB stores whole numbers as the smallest type. The example of the format's description, figure 1-8."""
    values = np.array([1, 4, 2, 5, 3, 6, 7, 10, 8, 11, 9, 12], np.uint8)
    body = struct.pack("<IIII", 6, 8, 6, 0) + struct.pack("<IIiii", 5, 12, 2, 3, 2) + bytes(4)
    body += struct.pack("<HH4s", 1, 3, b"arr") + struct.pack("<II", 2, 12) + values.tobytes() + bytes(4)
    content = b"x".ljust(124) + b"\x00\x01IM" + struct.pack("<II", 14, len(body)) + body
    expected = np.array([[[1, 7], [2, 8], [3, 9]], [[4, 10], [5, 11], [6, 12]]])
    assert np.array_equal(read(tmp_path, content, ("arr",))["arr"], expected)
    assert np.array_equal(loadmat(io.BytesIO(content))["arr"], expected)


def test_other_variables_are_skipped(tmp_path):
    content = mat(first={"a": "structure"}, text="text", a=ARRAYS["a"], cell=np.array([[1, "a"]], object))
    assert read(tmp_path, content, ("a",)).keys() == {"a"}


def matrix(*elements, kind=14):
    body = b"".join(struct.pack("<II", code, len(data)) + data + bytes(-len(data) % 8) for code, data in elements)
    return HEADER + struct.pack("<II", kind, len(body)) + body


HEADER = mat()[:128]
FLAGS = (6, struct.pack("<II", 9, 0))
SHAPE = (5, struct.pack("<ii", 2, 2))
NAME = (1, b"a")
VALUES = (2, bytes(4))
FAULTS = {
    "nothing": (b"", "expected a little-endian MATLAB file of version 5 to 7, got another file; download it from here"),
    "HDF5": (b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM", "expected a little-endian MATLAB file"),
    "big-endian": (b"".ljust(124) + b"\x01\x00MI", "expected a little-endian MATLAB file"),
    "no array": (HEADER, r"expected the arrays \['a'\], got no a; download it from here"),
    "half a tag": (HEADER + bytes(4), "ends within an element; copy or download it again"),
    "an element without its end": (matrix(FLAGS, SHAPE, NAME, VALUES)[:-8], "ends within an element"),
    "a declared size beyond the file": (HEADER + struct.pack("<II", 14, 2**32 - 1) + bytes(8), "ends within an elem"),
    "values beyond their element": (
        matrix(FLAGS, SHAPE, NAME, VALUES)[:-12] + struct.pack("<I", 2**31) + bytes(8),
        "ends within an element",
    ),
    "no name": (matrix(FLAGS, SHAPE), "ends within an element"),
    "no flags": (matrix((6, b""), SHAPE, NAME, VALUES), "ends within an element"),
    "no values": (matrix(FLAGS, SHAPE, NAME), "expected a to be an array of real numbers"),
    "a text": (mat(a="text"), "expected a to be an array of real numbers, got a variable of another kind"),
    "a structure": (mat(a={"b": 1}), "expected a to be an array of real numbers"),
    "objects": (mat(a=np.array([[1, "b"]], object)), "expected a to be an array of real numbers"),
    "complex numbers": (mat(a=np.array([[1j]])), "expected a to be an array of real numbers"),
    "values of an unknown type": (matrix(FLAGS, SHAPE, NAME, (99, bytes(4))), "expected a to be an array of real"),
    "a shape of more values": (
        matrix(FLAGS, (5, struct.pack("<ii", 2**31 - 1, 2**31 - 1)), NAME, VALUES),
        r"expected the bytes of a to match its shape \(2147483647, 2147483647\), got 4",
    ),
    "a shape below 0": (matrix(FLAGS, (5, struct.pack("<ii", -2, -2)), NAME, VALUES), "to match its shape"),
    "half a shape": (matrix(FLAGS, (5, bytes(5)), NAME, VALUES), "to match its shape"),
    "many axes": (matrix(FLAGS, (5, struct.pack("<i", 1) * 99), NAME, (2, b"a")), "to match its shape"),
    "a damaged stream": (
        HEADER + struct.pack("<II", 15, 9) + b"no stream",
        r"cannot be unpacked .*; copy or download it again",
    ),
    "a stream without its end": (
        HEADER + struct.pack("<II", 15, 9) + zlib.compress(bytes(99))[:9],
        r"cannot be unpacked \(its end is missing\)",
    ),
    "a stream without elements": (
        HEADER + struct.pack("<II", 15, 8) + zlib.compress(b""),
        "expected the arrays .*, got no a",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_file_is_named(fault, tmp_path):
    content, message = FAULTS[fault]
    with pytest.raises(ValueError, match=f"^{tmp_path}/file.mat: .*{message}"):
        read(tmp_path, content, ("a",))


@pytest.mark.parametrize(("count", "size"), [(1, 2**26), (40, 2**19)])
def test_a_small_file_that_unpacks_to_a_large_one_takes_no_memory(count, size, tmp_path):
    content = mat(**{f"z{number}": np.zeros(size, np.uint8) for number in range(count)}, a=ARRAYS["a"])
    assert len(content) < MAX_BYTES

    def fail():
        with pytest.raises(ValueError, match="expected at most 1048576 bytes when it is unpacked, got more"):
            read(tmp_path, content, ("a",))

    assert peak_bytes(fail) < 5 * MAX_BYTES


def test_a_large_file_is_not_read(tmp_path):
    with pytest.raises(ValueError, match="expected a file of at most 100 bytes"):
        read(tmp_path, mat(a=ARRAYS["a"]), ("a",), max_bytes=100)
