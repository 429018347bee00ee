"""Files of USPS: both forms read alike and as by torchvision, and faulty ones named."""

import bz2
import re
import shutil
import sys

import numpy as np
import pytest
from hostile import peak_bytes
from torchvision.datasets import USPS

from lightning_edge.data.formats.usps import read_usps
from lightning_edge.samples.usps import sample_usps


@pytest.fixture(scope="module")
def sample(sample_cache):
    return sample_usps(40, 20) / "usps"


@pytest.mark.parametrize(("part", "count"), [("train", 40), ("test", 20)])
def test_it_is_read_as_torchvision_reads_it(part, count, sample):
    expected, (images, labels) = USPS(sample, part == "train"), read_usps(sample, part)
    assert labels.tolist() == expected.targets
    assert len(labels) == count
    # torchvision rounds down
    assert np.isin(images.astype(int) - expected.data, (0, 1)).all()
    assert images.max() == 255
    assert images.min() == 0


@pytest.mark.parametrize("part", ["train", "test"])
def test_unpacked_text_is_read_alike(part, sample, tmp_path):
    for name in ("usps", "usps.t"):
        (tmp_path / name).write_bytes(bz2.decompress((sample / f"{name}.bz2").read_bytes()))
    expected, actual = read_usps(sample, part), read_usps(tmp_path, part)
    assert all(map(np.array_equal, expected, actual))


def write_hdf5(path, parts, **options):
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        for name, values in parts.items():
            file.create_dataset(name, data=values, **options)


def arrays_of(folder):
    """Content of ``usps.h5`` with the digits of the text files."""
    content = {}
    for part in ("train", "test"):
        images, labels = read_usps(folder, part)
        content |= {f"{part}/data": images.reshape(-1, 256).astype(np.float32) / 255, f"{part}/target": labels}
    return content


@pytest.mark.parametrize("part", ["train", "test"])
@pytest.mark.parametrize("options", [{}, {"compression": "gzip", "shuffle": True, "fletcher32": True}])
def test_hdf5_is_read_alike_and_preferred(part, options, sample, tmp_path):
    write_hdf5(tmp_path / "usps.h5", arrays_of(sample), **options)
    (tmp_path / "usps.bz2").write_bytes(b"is not read")
    assert all(map(np.array_equal, read_usps(sample, part), read_usps(tmp_path, part)))


def test_without_h5py_the_extra_is_named(tmp_path, monkeypatch):
    (tmp_path / "usps.h5").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ImportError, match=r'usps.h5 needs h5py; .*pip install "lightning-edge\[adaptation\]"'):
        read_usps(tmp_path, "train")


def test_missing_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"usps.t.bz2: there is no such file; download usps.bz2 and usps.t.bz2"):
        read_usps(tmp_path, "test")


LINE = b"3 " + b" ".join(b"%d:-1" % index for index in range(1, 257)) + b"\n"
TEXT_FAULTS = {
    "no line": (b"", "expected 1 to 65536 images, got 0"),
    "an empty line": (
        LINE + b"\n" + LINE,
        "usps, line 2: expected a class from 1 to 10 and pairs of an index .*, got ''",
    ),
    "a class 0": (LINE + b"0" + LINE[1:], "usps, line 2: expected a class from 1 to 10 .*, got '0 1:-1 2:-1"),
    "a class 11": (b"11" + LINE[1:], "usps, line 1: expected a class from 1 to 10"),
    "half a class": (b"2.5" + LINE[1:], "usps, line 1: expected a class from 1 to 10"),
    "no class": (LINE[2:], "usps, line 1: expected a class"),
    "an index 0": (LINE.replace(b" 1:", b" 0:"), "usps, line 1: expected .* an index from 1 to 256 and a value"),
    "an index 257": (LINE.replace(b" 256:", b" 257:"), "usps, line 1: expected .* an index from 1 to 256 and a value"),
    "a large index": (LINE.replace(b" 256:", b" " + b"9" * 999 + b":"), "usps, line 1: expected .* an index from 1"),
    "an index below 0": (LINE.replace(b" 2:", b" -2:"), "usps, line 1: expected .* an index from 1 to 256"),
    "no value": (LINE.replace(b" 2:-1", b" 2:"), "usps, line 1: expected .* an index from 1 to 256 and a value"),
    "no index": (LINE.replace(b" 2:", b" "), "usps, line 1: expected .* an index from 1 to 256 and a value"),
    "two values": (LINE.replace(b" 2:-1", b" 2:-1:1"), "usps, line 1: expected .* an index from 1 to 256 and a value"),
    "a word": (LINE.replace(b" 2:-1", b" 2:one"), "usps, line 1: expected .* an index from 1 to 256 and a value"),
    "other bytes": (b"\xff" * 500, "usps, line 1: expected .*, got '\ufffd{80}'$"),
    "no number": (LINE.replace(b" 2:-1", b" 2:nan"), "expected gray values within .0, 1., got values from nan to nan"),
    "infinity": (LINE.replace(b" 2:-1", b" 2:inf"), "expected gray values within .0, 1., got values from 0 to inf"),
    "a value below -1": (LINE.replace(b" 2:-1", b" 2:-1.5"), "expected gray values within .0, 1., got .* from -0.25"),
    "bytes as values": (LINE.replace(b" 2:-1", b" 2:255"), "expected gray values within .0, 1., got .* to 128"),
    "many lines": (b"1\n" * (2**16 + 1), "expected at most 65536 lines, got more"),
}


@pytest.mark.parametrize("fault", TEXT_FAULTS)
def test_a_faulty_text_is_named(fault, tmp_path):
    content, message = TEXT_FAULTS[fault]
    (tmp_path / "usps").write_bytes(content)
    with pytest.raises(ValueError, match=f"^{tmp_path}/.*{message}"):
        read_usps(tmp_path, "train")


def test_pixels_that_are_left_out_are_0_and_line_ends_of_windows_are_read(tmp_path):
    (tmp_path / "usps").write_bytes(b"10 2:1\t256:-1 \r\n1 1:0.5\r\n")
    images, labels = read_usps(tmp_path, "train")
    expected = np.full((2, 256), 128)
    expected[0, 1], expected[0, 255], expected[1, 0] = 255, 0, 191
    assert np.array_equal(images.reshape(2, 256), expected)
    assert labels.tolist() == [9, 0]


PACKED_FAULTS = {
    "cut": (lambda old: old[: len(old) // 2], r"cannot be unpacked \(its end is missing\); copy or download it again"),
    "not packed": (bz2.decompress, "cannot be unpacked .*; copy or download it again"),
    "damaged": (lambda old: old[:100] + bytes(50) + old[150:], "cannot be unpacked"),
    "followed by other bytes": (lambda old: old + b"other", r"cannot be unpacked \(there are bytes after its end\)"),
}


@pytest.mark.parametrize("fault", PACKED_FAULTS)
def test_a_faulty_archive_is_named(fault, sample, tmp_path):
    change, message = PACKED_FAULTS[fault]
    (tmp_path / "usps.bz2").write_bytes(change((sample / "usps.bz2").read_bytes()))
    with pytest.raises(ValueError, match=f"usps.bz2: {message}"):
        read_usps(tmp_path, "train")


def test_a_small_archive_that_unpacks_to_a_large_one_takes_little_memory(tmp_path):
    packer = bz2.BZ2Compressor(1)
    packed = b"".join(packer.compress(bytes(2**24)) for _ in range(8)) + packer.flush()
    (tmp_path / "usps.bz2").write_bytes(packed)
    assert len(packed) < 2**14

    def fail():
        with pytest.raises(
            ValueError, match=r"usps.bz2: expected at most 67108864 bytes when it is unpacked, got more"
        ):
            read_usps(tmp_path, "train")

    assert peak_bytes(fail) < 2.5 * 2**26  # the limit, in pieces and joined


def hdf5_faults():
    images, labels = np.zeros((5, 256), np.float32), np.arange(5)
    return {
        "other names": ({"train/images": images}, r"expected the array train/data, got none; download usps.bz2"),
        "no groups": ({"train": images}, r"expected the array train/data, got none"),
        "texts": ({"train/data": [b"a"], "train/target": labels}, "expected train/data as an array of numbers"),
        "a square": (
            {"train/data": images.reshape(5, 16, 16), "train/target": labels},
            r"expected train/data of shape \(n, 256\) and train/target of shape \(n,\), got \(5, 16, 16\) and \(5,\)",
        ),
        "too few classes": ({"train/data": images, "train/target": labels[:4]}, r"got \(5, 256\) and \(4,\)"),
        "no image": ({"train/data": images[:0], "train/target": labels[:0]}, "expected 1 to 65536 images, got 0"),
        "a class 10": ({"train/data": images, "train/target": labels + 6}, "expected digits from 0 to 9 .*, got 10"),
        "half a class": ({"train/data": images, "train/target": labels / 2}, "expected digits .*, got 0.5"),
        "no number": ({"train/data": images * np.nan, "train/target": labels}, r"within \[0, 1\], got .* from nan"),
        "bytes as values": ({"train/data": images + 255, "train/target": labels}, r"within \[0, 1\], got .* from 255"),
    }


@pytest.mark.parametrize("fault", hdf5_faults())
def test_a_faulty_hdf5_is_named(fault, tmp_path):
    parts, message = hdf5_faults()[fault]
    write_hdf5(tmp_path / "usps.h5", parts)
    with pytest.raises(ValueError, match=f"^{tmp_path}/usps.h5: .*{message}"):
        read_usps(tmp_path, "train")


@pytest.mark.parametrize(
    "change", [lambda old: b"", lambda old: old[: len(old) // 2], lambda old: b"x" * 5000, lambda old: old[:-9000]]
)
def test_what_is_no_whole_hdf5_is_named(change, sample, tmp_path):
    path = tmp_path / "usps.h5"
    write_hdf5(path, arrays_of(sample))
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(ValueError, match=r"usps.h5: cannot be read as HDF5 .*; download"):
        read_usps(tmp_path, "train")


def test_files_of_the_form_that_is_not_read_may_be_missing(sample, tmp_path):
    shutil.copy(sample / "usps.bz2", tmp_path)
    assert len(read_usps(tmp_path, "train").labels) == 40
    with pytest.raises(FileNotFoundError, match=re.escape("usps.t.bz2: there is no such file")):
        read_usps(tmp_path, "test")
