"""Files of features: what another program may have written in their place, and several processes at one file."""

import io
from multiprocessing import get_context
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile

import numpy as np
import pytest
from hostile import peak_bytes
from lights import write

from lightning_edge.data.domains.features import read_features, write_features


@pytest.fixture
def path(tmp_path):
    return write(tmp_path / "features.npz")


def npy(array, shape=None, descr=None):
    """An array in NumPy's format, whose header may declare something else than follows."""
    file = io.BytesIO()
    header = np.lib.format.header_data_from_array_1_0(array)
    header |= {"shape": header["shape"] if shape is None else shape, "descr": descr or header["descr"]}
    np.lib.format.write_array_header_1_0(file, header)
    return file.getvalue() + array.tobytes()


def zipped(path, names=None, features=None, compression=ZIP_STORED):
    """A file of features of two images, with other bytes in the place of one or both of its arrays."""
    with ZipFile(path, "w", compression) as archive:
        archive.writestr("train_names.npy", npy(np.array(["a", "b"])) if names is None else names)
        archive.writestr("train_features.npy", npy(np.eye(2, dtype=np.float32)) if features is None else features)


def numbers(*shape):
    return np.ones(shape, np.float32)


ODD_FEATURES = {
    "NaN": ({"features": npy(np.array([[1, 2], [np.nan, 4]], np.float32))}, "NaN or infinity for 1 of 2 .* first is b"),
    "infinity": ({"features": npy(np.array([[np.inf, 2], [3, -np.inf]], np.float32))}, "infinity for 2 of 2 .* is a"),
    "too large": ({"features": npy(np.array([[1, 2], [3, 1e300]]))}, "NaN or infinity for 1 of 2 .* first is b"),
    "a name twice": ({"names": npy(np.array(["b", "b"]))}, "each image of the train split once, got b twice"),
    "more rows than names": ({"features": npy(numbers(3, 2))}, r"got 2 names and features of shape \(3, 2\)"),
    "fewer rows than names": ({"features": npy(numbers(1, 2))}, r"got 2 names and features of shape \(1, 2\)"),
    "no number": ({"features": npy(numbers(2, 0))}, r"got 2 names and features of shape \(2, 0\)"),
    "no image": ({"names": npy(np.array([], "U1")), "features": npy(numbers(0, 2))}, "got 0 names"),
    "0-d names": ({"names": npy(np.array("a"))}, r"train_names.npy is an array of <U1 and of shape \(\)"),
    "2-d names": ({"names": npy(np.array([["a"], ["b"]]))}, r"train_names.npy is an array .* shape \(2, 1\)"),
    "numbers as names": ({"names": npy(np.arange(2))}, "train_names.npy is an array of int64"),
    "0-d": ({"features": npy(numbers())}, r"train_features.npy is an array of float32 and of shape \(\)"),
    "1-d": ({"features": npy(numbers(2))}, r"shape \(2,\)"),
    "3-d": ({"features": npy(numbers(2, 2, 1))}, r"shape \(2, 2, 1\)"),
    "texts": ({"features": npy(np.array([["a", "b"], ["c", "d"]]))}, "train_features.npy is an array of <U1"),
    "complex": ({"features": npy(np.ones((2, 2), complex))}, "array of complex128"),
    "objects": ({"features": npy(numbers(2, 2), descr="|O")}, "train_features.npy is an array of object"),
    "more than follows": ({"features": npy(numbers(2, 2), (2, 10**12))}, "declares the shape .* but has 16 bytes"),
    "less than follows": ({"features": npy(numbers(2, 2), (2, 1))}, r"declares the shape \(2, 1\) but has 16 bytes"),
    "a shape below 0": ({"features": npy(numbers(2, 2), (-2, -2))}, "cannot be read"),
    "names that are no text": ({"names": npy(np.array([2**31, 5], np.uint32), descr="<U1")}, "cannot be read"),
    "names without a letter": ({"names": npy(np.array([], "U1"), (10**12,), "<U0")}, "cannot be read"),
    "no array": ({"features": b"no array"}, "cannot be read"),
    "a deep header": ({"features": b"\x93NUMPY\x01\x00" + b"\x10\x27" + b"(" * 10_000}, "cannot be read"),
}


@pytest.mark.parametrize("compression", [ZIP_STORED, ZIP_DEFLATED])
@pytest.mark.parametrize("kind", ODD_FEATURES)
def test_features_that_are_none_are_named(kind, compression, tmp_path):
    path = tmp_path / "features.npz"
    arrays, message = ODD_FEATURES[kind]
    zipped(path, **arrays, compression=compression)
    with pytest.raises(ValueError, match=rf"^{path}: expected .*{message}.* write it with `python -m recipes.ddn"):
        read_features(path, "train")


@pytest.mark.parametrize("compression", [ZIP_STORED, ZIP_DEFLATED])
@pytest.mark.parametrize("make", [np.asarray, np.asfortranarray, np.float64, np.float16, np.int8])
def test_features_of_other_programs_are_read(make, compression, tmp_path):
    path = tmp_path / "features.npz"
    features = make([[1, 2, 3], [4, 5, 6]])
    with ZipFile(path, "w", compression) as archive:
        for name, array in (("names", np.array(["a", "b"])), ("features", features)):
            with archive.open(f"train_{name}.npy", "w") as file:
                np.lib.format.write_array(file, array)
    actual = read_features(path, "train", ["b", "a"])
    assert actual.dtype == np.float32
    assert actual.tolist() == [[4, 5, 6], [1, 2, 3]]


@pytest.mark.parametrize("which", ["names", "features"])
def test_a_small_file_that_unpacks_to_gigabytes_takes_no_memory(which, tmp_path):
    path = tmp_path / "features.npz"
    with ZipFile(path, "w", ZIP_DEFLATED, compresslevel=1) as archive:
        for name, array in (("names", np.array(["a", "b"])), ("features", numbers(2, 2))):
            with archive.open(f"train_{name}.npy", "w") as file:
                file.write(npy(array, (2, 2**24) if name == which else None))
                if name == which:
                    for _ in range(128):
                        file.write(bytes(2**20))
    assert path.stat().st_size < 2**20

    def read():
        with pytest.raises(ValueError, match=rf"train_{which}.npy .* would unpack to 1342\d+ bytes"):
            read_features(path, "train")

    assert peak_bytes(read) < 2**20


def write_again_and_again(path, value):
    names = [str(number) for number in range(2000)]
    for _ in range(50):
        write_features(path, {"train": (names, np.full((2000, 8), value, np.float32))})


def test_writers_at_once_break_no_reader(tmp_path):
    path = tmp_path / "features.npz"
    fork = get_context("fork")
    writers = [fork.Process(target=write_again_and_again, args=(path, value)) for value in (1, 2)]
    write_again_and_again(path, 0)
    for writer in writers:
        writer.start()
    seen = set()
    while any(writer.is_alive() for writer in writers):
        seen |= {tuple(np.unique(read_features(path, "train")))}
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0, 0]
    assert seen <= {(0,), (1,), (2,)}
    assert len(seen) > 1
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("place", ["a file", "a folder"])
def test_a_place_that_cannot_be_written_is_named(place, tmp_path):
    (tmp_path / "a").mkdir() if place == "a folder" else (tmp_path / "a").touch()
    path = tmp_path / "a" if place == "a folder" else tmp_path / "a/features.npz"
    with pytest.raises(OSError, match=rf"^{path}: cannot be written \(.*\); choose another folder"):
        write(path)
    assert not list(tmp_path.glob(".*"))


def test_a_writer_that_fails_leaves_the_earlier_file(path, monkeypatch):
    def fill_the_disk(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fill_the_disk)
    before = path.read_bytes()
    with pytest.raises(OSError, match=r"features.npz: cannot be written \(No space left on device\)"):
        write(path)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]
