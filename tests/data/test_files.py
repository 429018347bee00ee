"""Files that are none, for each reader that goes through the one function which opens them."""

import json
import os
from pathlib import Path

import pytest
from hostile import NO_FILES, put
from lights import write as write_lights

from lightning_edge.data import MNISTDataModule
from lightning_edge.data.domains.features import read_features
from lightning_edge.data.files import names_in, read_file
from lightning_edge.data.formats.bdd100k import read_labels
from lightning_edge.data.formats.cifar import read_cifar
from lightning_edge.data.formats.digits import read_mnist, read_mnist_m
from lightning_edge.data.formats.svhn import read_svhn
from lightning_edge.data.formats.usps import read_usps
from lightning_edge.samples.digits import sample_digits

CIFAR10_BINARY = [f"data_batch_{number}.bin" for number in range(1, 6)]
READERS = {
    "images of MNIST": ("train-images-idx3-ubyte.gz", lambda root: read_mnist(root, "train")),
    "classes of MNIST": ("train-labels-idx1-ubyte.gz", lambda root: read_mnist(root, "train")),
    "classes of MNIST-M": ("mnist_m_test_labels.txt", read_mnist_m),
    "USPS as text": ("usps.t.bz2", lambda root: read_usps(root, "test")),
    "SVHN": ("test_32x32.mat", lambda root: read_svhn(root, "test")),
    "CIFAR of Python": ("test_batch", lambda root: read_cifar(root, 10, "test")),
    "binary CIFAR": ("data_batch_2.bin", lambda root: read_cifar(root, 10, "train")),
    "labels of BDD100K": ("det_train.json", lambda root: read_labels(root / "det_train.json")),
    "features": ("features.npz", lambda root: read_features(root / "features.npz", "train")),
}


@pytest.fixture(scope="module")
def mnist(sample_cache):
    return sample_digits(10, 10) / "mnist"


@pytest.fixture
def root(mnist, tmp_path):
    """A folder with the files of each reader."""
    for name in ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"):
        (tmp_path / name).write_bytes((mnist / name).read_bytes())
    for name in CIFAR10_BINARY:
        (tmp_path / name).write_bytes(bytes(3073))
    (tmp_path / "det_train.json").write_text(json.dumps([{"name": "a.jpg"}]))
    write_lights(tmp_path / "features.npz")
    return tmp_path


@pytest.mark.parametrize("kind", NO_FILES)
@pytest.mark.parametrize("reader", READERS)
def test_what_is_no_file_is_named_at_once(reader, kind, root):
    name, read = READERS[reader]
    message = put(kind, root / name)
    with pytest.raises(OSError if kind == "a loop of links" else ValueError, match=f"^{root}/{message}"):
        read(root)


@pytest.mark.parametrize("reader", [reader for reader in READERS if "CIFAR" not in reader])
def test_a_missing_file_is_named_with_what_to_do(reader, root):
    name, read = READERS[reader]
    (root / name).unlink(missing_ok=True)
    remedy = "(download it from|download usps.bz2|get it at|write it) "
    with pytest.raises(FileNotFoundError, match=f"^{root}/{name}: there is no such file; {remedy}"):
        read(root)


def test_a_root_one_folder_too_deep_is_recognized(tmp_path):
    (tmp_path / "mnist").mkdir()
    with pytest.raises(FileNotFoundError, match=r"idx3-ubyte.gz: there is no such file; download it from"):
        MNISTDataModule(tmp_path / "mnist").setup("fit")
    (tmp_path / "mnist" / "train-images-idx3-ubyte.gz").touch()
    remedy = f"root is one folder too deep, give {tmp_path}; download it from"
    with pytest.raises(FileNotFoundError, match=rf"idx3-ubyte.gz: there is no such file; {remedy}"):
        MNISTDataModule(tmp_path / "mnist").setup("fit")
    (tmp_path / "mnist").rename(tmp_path / "digits")
    with pytest.raises(FileNotFoundError, match=r"idx3-ubyte.gz: there is no such file; download it from"):
        MNISTDataModule(tmp_path / "digits").setup("fit")  # a folder of another name
    with pytest.raises(FileNotFoundError, match=r"idx3-ubyte.gz: there is no such file; download it from"):
        MNISTDataModule(tmp_path / "none" / "mnist").setup("fit")


def test_a_file_that_the_system_does_not_open_is_named(tmp_path, monkeypatch):
    """Such as one of another user, which a test can open that runs as root."""

    def refuse(path, mode):
        raise PermissionError(13, "Permission denied", str(path))

    (tmp_path / "a").write_bytes(b"content")
    with monkeypatch.context() as patch:
        patch.setattr("pathlib.Path.open", refuse)
        with pytest.raises(OSError, match=rf"^{tmp_path}/a: cannot be read \(Permission denied\); check"):
            read_file(tmp_path / "a", 100, "get it")


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs Linux")
def test_a_file_that_cannot_be_read_is_named():
    """The start of this process's memory, which is a file that opens and then reads as one on a broken disk does."""
    with pytest.raises(OSError, match=r"^/proc/self/mem: cannot be read \(Input/output error\); check"):
        read_file(Path("/proc/self/mem"), 100, "get it")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_or_folder_of_another_user_is_named(tmp_path):
    (tmp_path / "folder").mkdir(mode=0)
    (tmp_path / "file").touch(mode=0)
    with pytest.raises(OSError, match=r"file: cannot be read \(Permission denied\)"):
        read_file(tmp_path / "file", 100, "get it")
    with pytest.raises(OSError, match=r"folder: cannot be read \(Permission denied\)"):
        names_in(tmp_path / "folder")
    (tmp_path / "folder").chmod(0o700)


def test_a_file_may_be_as_large_as_the_limit(tmp_path):
    (tmp_path / "a").write_bytes(b"12345")
    assert read_file(tmp_path / "a", 5, "") == b"12345"
    with pytest.raises(ValueError, match=r"a: expected a file of at most 4 bytes, got 5; get another"):
        read_file(tmp_path / "a", 4, "get another")
    with pytest.raises(ValueError, match=r"cannot be read .*null byte"):
        read_file(tmp_path / "a\0b", 5, "")


def test_a_file_that_grows_is_read_up_to_its_size(tmp_path, monkeypatch):
    (tmp_path / "a").write_bytes(b"12345")
    before = os.stat_result((0o100644, 0, 0, 1, 0, 0, 3, 0, 0, 0))
    monkeypatch.setattr("lightning_edge.data.files.os.fstat", lambda descriptor: before)
    assert read_file(tmp_path / "a", 10, "") == b"123"


def test_a_link_to_a_file_is_a_file(tmp_path):
    (tmp_path / "a").write_bytes(b"12345")
    (tmp_path / "b").symlink_to("a")
    assert read_file(tmp_path / "b", 5, "") == b"12345"


def test_names_in_a_folder(tmp_path):
    (tmp_path / "a").touch()
    (tmp_path / "loop").symlink_to("loop")
    assert names_in(tmp_path) == {"a", "loop"}
    assert names_in(tmp_path / "none") == set()
    for name, reason in (("a", "Not a directory"), ("loop", "Too many levels")):
        with pytest.raises(OSError, match=rf"^{tmp_path}/{name}: cannot be read \({reason}"):
            names_in(tmp_path / name)
