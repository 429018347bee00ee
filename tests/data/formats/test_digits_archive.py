"""Files of digits: read as by torchvision, and told of where they are faulty."""

import gzip
import re
import shutil
import struct
import zlib

import cv2
import numpy as np
import pytest
from hostile import peak_bytes
from torchvision.datasets.mnist import read_sn3_pascalvincent_tensor

from lightning_edge.data import DigitsDataModule
from lightning_edge.data.formats.digits import read_mnist, read_mnist_m
from lightning_edge.samples.digits import sample_digits


@pytest.fixture(scope="module")
def sample(sample_cache):
    return sample_digits(300, 100)


@pytest.fixture
def copy(sample, tmp_path):
    shutil.copytree(sample, tmp_path, dirs_exist_ok=True)
    return tmp_path


def raw(path):
    """Read by torchvision, which does not unpack."""
    unpacked = path.with_suffix("")
    unpacked.write_bytes(gzip.decompress(path.read_bytes()))
    return read_sn3_pascalvincent_tensor(str(unpacked)).numpy()


@pytest.mark.parametrize("part", ["train", "t10k"])
def test_it_is_read_as_torchvision_reads_it(part, sample, tmp_path):
    shutil.copytree(sample / "mnist", tmp_path, dirs_exist_ok=True)
    images, labels = read_mnist(tmp_path, part)
    assert np.array_equal(images, raw(tmp_path / f"{part}-images-idx3-ubyte.gz"))
    assert np.array_equal(labels, raw(tmp_path / f"{part}-labels-idx1-ubyte.gz"))
    assert labels.dtype == np.int64


def idx(values, magic=None):
    magic = 0x0800 + values.ndim if magic is None else magic
    return gzip.compress(struct.pack(f">{1 + values.ndim}I", magic, *values.shape) + values.tobytes())


IMAGES = "mnist/train-images-idx3-ubyte.gz"
LABELS = "mnist/t10k-labels-idx1-ubyte.gz"
COLORED = "mnist_m/mnist_m_test_labels.txt"
FAULTS = {
    "cut short": (IMAGES, lambda old: old[: len(old) // 2], r"train-images.*cannot be unpacked .* download it again"),
    "damaged": (IMAGES, lambda old: old[:500] + bytes(50) + old[550:], "train-images.*cannot be unpacked"),
    "not packed": (IMAGES, gzip.decompress, "train-images.*cannot be unpacked"),
    "a byte cut": (IMAGES, lambda old: old[:-1], r"train-images.*cannot be unpacked \(its end is missing\); copy or"),
    "a wrong sum": (IMAGES, lambda old: old[:-8] + bytes(8), "train-images.*cannot be unpacked .*incorrect data check"),
    "followed by other bytes": (
        IMAGES,
        lambda old: old + b"other bytes",
        r"train-images.*cannot be unpacked \(there are bytes after its end\); copy or download it again",
    ),
    "followed by another file": (
        LABELS,
        lambda old: old + old,
        r"t10k-labels.*cannot be unpacked \(there are bytes after its end\)",
    ),
    "more than it says": (
        IMAGES,
        lambda old: gzip.compress(gzip.decompress(old) + bytes(1)),
        r"train-images.*expected 235200 bytes for the sizes \(300, 28, 28\), got more",
    ),
    "no image": (IMAGES, lambda old: idx(np.zeros((0, 28, 28), np.uint8)), "train-images.*a file that declares 0"),
    "no class": (LABELS, lambda old: idx(np.zeros(0, np.uint8)), "t10k-labels.*expected 1 to 262144 images, got .* 0"),
    "a size beyond all bounds": (
        IMAGES,
        lambda old: gzip.compress(struct.pack(">4I", 0x0803, 2**32 - 1, 28, 28)),
        "train-images.*expected 1 to 262144 images, got a file that declares 4294967295",
    ),
    "sizes beyond all bounds": (
        IMAGES,
        lambda old: gzip.compress(struct.pack(">4I", 0x0803, 1, 2**32 - 1, 2**32 - 1)),
        "train-images.*expected images of 28x28 pixels, got",
    ),
    "empty": (IMAGES, lambda old: gzip.compress(b""), "train-images.*expected 16 bytes or more, got 0"),
    "classes in place of images": (
        IMAGES,
        lambda old: idx(np.zeros(300, np.uint8)).ljust(60, b"\0"),
        r"train-images.*expected the magic number of byte data with 3 axes \(2051\), got 2049",
    ),
    "floats": (
        IMAGES,
        lambda old: idx(np.zeros((300, 28, 28), np.uint8), 0x0D03),
        r"train-images.*\(2051\), got 3331",
    ),
    "fewer than it says": (
        IMAGES,
        lambda old: gzip.compress(gzip.decompress(old)[:-784]),
        r"train-images.*expected 235200 bytes for the sizes \(300, 28, 28\), got 234416",
    ),
    "another size": (
        IMAGES,
        lambda old: idx(np.zeros((300, 32, 32), np.uint8)),
        r"train-images.*expected images of 28x28 pixels, got \(32, 32\)",
    ),
    "too few classes": (
        LABELS,
        lambda old: idx(np.zeros(99, np.uint8)),
        "t10k-labels.*expected a class for each of 100 images, got 99",
    ),
    "letters": (
        LABELS,
        lambda old: idx(np.full(100, 26, np.uint8)),
        r"t10k-labels.*expected classes within \[0, 10\), got 26",
    ),
    "other classes": (
        LABELS,
        lambda old: idx(np.zeros(100, np.uint8)),
        "mnist_m: expected image k to be image k of MNIST's t10k, got other classes",
    ),
    "a line of another kind": (
        COLORED,
        lambda old: old.replace(b"00000002.png ", b"00000002.png;"),
        "mnist_m_test_labels.txt, line 3: expected '00000002.png' and a class within .* got '00000002.png;",
    ),
    "a line left out": (
        COLORED,
        lambda old: b"\n".join(old.split(b"\n")[1:]),
        "mnist_m_test_labels.txt, line 1: expected '00000000.png' .* got '00000001.png",
    ),
    "a class too many": (
        COLORED,
        lambda old: old.replace(b"7.png 1", b"7.png 11"),
        r"within \[0, 10\), got .*7.png 11'",
    ),
    "a long line": (
        COLORED,
        lambda old: b"0" * 10**6,
        "mnist_m_test_labels.txt, line 1: expected '00000000.png' .* got '0{80}'$",
    ),
    "a class in other digits": (
        COLORED,
        lambda old: re.sub(rb"1.png \d", "1.png ³".encode(), old, count=1),
        r"mnist_m_test_labels.txt, line 2: expected '00000001.png' and a class .*³'$",
    ),
    "no line": (COLORED, lambda old: b"", "mnist_m: expected ten images or more, to split them, got 0"),
    "an image cut short": (
        "mnist_m/mnist_m_test/00000007.png",
        lambda old: old[:40],
        "00000007.png: cannot be decoded",
    ),
    "a large image": (
        "mnist_m/mnist_m_test/00000007.png",
        lambda old: cv2.imencode(".png", np.zeros((28, 28, 3), np.uint8))[1].tobytes(),
        r"00000007.png: expected an image of \(32, 32\) pixels, got \(28, 28\)",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_file_is_named(fault, copy):
    name, change, message = FAULTS[fault]
    path = copy / name
    before = path.read_bytes()
    path.write_bytes(change(before))
    assert path.read_bytes() != before
    with pytest.raises(ValueError, match=message):
        DigitsDataModule(copy, num_workers=0).setup("fit")


@pytest.mark.parametrize("declared", [300, 2**18])
def test_a_small_file_that_unpacks_to_gigabytes_takes_no_memory(declared, copy):
    packer = zlib.compressobj(1, wbits=31)
    packed = packer.compress(struct.pack(">4I", 0x0803, declared, 28, 28))
    packed += b"".join(packer.compress(bytes(2**20)) for _ in range(300)) + packer.flush()
    (copy / IMAGES).write_bytes(packed)
    assert len(packed) < 2**21

    def read():
        with pytest.raises(ValueError, match=r"train-images.*expected \d+ bytes for the sizes .*, got more"):
            read_mnist(copy / "mnist", "train")

    # what is declared, in pieces and joined, and the file
    assert peak_bytes(read) < 2.2 * declared * 784 + 2**23


def test_too_few_images_to_part_are_named(copy):
    for kind, values in (("images-idx3", np.zeros((2, 28, 28), np.uint8)), ("labels-idx1", np.zeros(2, np.uint8))):
        (copy / f"mnist/train-{kind}-ubyte.gz").write_bytes(idx(values))
    with pytest.raises(ValueError, match=r"mnist: expected 3 training images or more, to split them .*, got 2"):
        DigitsDataModule(copy, num_workers=0).setup("fit")


def test_a_domain_that_is_not_wanted_leaves_images(copy):
    with pytest.raises(ValueError, match=r"expected images, got none with keep_attributes=\{'source': \(\)\}"):
        DigitsDataModule(copy, num_workers=0, keep_attributes={"source": ()}).setup("fit")


def test_a_byte_order_mark_and_line_ends_of_windows_are_no_fault(copy):
    before = read_mnist_m(copy / "mnist_m").labels
    labels = copy / COLORED
    labels.write_bytes(b"\xef\xbb\xbf" + labels.read_bytes().replace(b"\n", b"\r\n"))
    assert read_mnist_m(copy / "mnist_m").labels.tolist() == before.tolist()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (IMAGES, "train-images-idx3-ubyte.gz: there is no such file; download it from https://"),
        (LABELS, "t10k-labels-idx1-ubyte.gz: there is no such file"),
        (COLORED, "mnist_m_test_labels.txt: there is no such file; download it from http://yaroslav.ganin.net"),
        ("mnist_m/mnist_m_test/00000007.png", "expected the 100 images .* got no 00000007.png$"),
    ],
)
def test_a_missing_file_is_named(name, message, copy):
    (copy / name).unlink()
    with pytest.raises(FileNotFoundError, match=message):
        DigitsDataModule(copy, num_workers=0).setup("test")
