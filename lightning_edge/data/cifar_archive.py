"""The files of CIFAR-10 and CIFAR-100 as Krizhevsky published them, in Python's and in the binary version.

Layout: https://www.cs.toronto.edu/~kriz/cifar.html. The Python version is pickled, and a pickle can run any code, so it
is read by an unpickler that knows arrays, lists, dicts, numbers and strings, and nothing else.
"""

import io
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from lightning_edge.data.labelled_images import LabelledImages

NumClasses = Literal[10, 100]

SIZE_PX = 32
_IMAGE_BYTES = 3 * SIZE_PX * SIZE_PX
_SOURCE = "https://www.cs.toronto.edu/~kriz/cifar.html"


class _Version(NamedTuple):
    folder: str
    train: tuple[str, ...]
    test: tuple[str, ...]
    label: str | int
    """Key of the classes in a Python file, or which of the bytes before the pixels of a binary one."""
    label_bytes: int = 0


_BATCHES = tuple(f"data_batch_{number}" for number in range(1, 6))
_VERSIONS: dict[NumClasses, tuple[_Version, _Version]] = {
    10: (
        _Version("cifar-10-batches-py", _BATCHES, ("test_batch",), "labels"),
        _Version("cifar-10-batches-bin", tuple(f"{name}.bin" for name in _BATCHES), ("test_batch.bin",), 0, 1),
    ),
    100: (
        _Version("cifar-100-python", ("train",), ("test",), "fine_labels"),
        _Version("cifar-100-binary", ("train.bin",), ("test.bin",), 1, 2),
    ),
}


def read_cifar(root: Path, num_classes: NumClasses, split: Literal["train", "test"]) -> LabelledImages:
    """Read all images of a split.

    Args:
        root: The unpacked folder, such as ``cifar-10-batches-py``, or the one that holds it.
        num_classes: Which of the two data sets; of the 100 classes these are the fine ones.
        split: Which part.

    Raises:
        FileNotFoundError: A file is missing.
        ValueError: A file is broken, is no archive of CIFAR, or holds what such an archive does not.
    """
    folder, version = _find(root, num_classes)
    names = version.train if split == "train" else version.test
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise FileNotFoundError(f"{folder}: expected the files {list(names)}, got none named {missing}; see {_SOURCE}")
    read = _read_binary if version.label_bytes else _read_python
    parts = [read(folder / name, version, num_classes) for name in names]
    return LabelledImages(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def _find(root: Path, num_classes: NumClasses) -> tuple[Path, _Version]:
    versions = _VERSIONS[num_classes]
    for version in versions:
        for folder in (root / version.folder, root):
            if any((folder / name).is_file() for name in (*version.train, *version.test)):
                return folder, version
    archive = next(iter(sorted(root.glob(f"cifar-{num_classes}-*.tar.gz"))), None)
    raise FileNotFoundError(
        f"no file of CIFAR-{num_classes} in {root}: expected it to hold {versions[0].folder}/{versions[0].train[0]} or "
        f"{versions[1].folder}/{versions[1].train[0]}; " + (f"unpack {archive}" if archive else f"get it at {_SOURCE}")
    )


def _read_python(path: Path, version: _Version, num_classes: NumClasses) -> LabelledImages:
    content = _unpickle(path)
    pixels, labels = (content.get("data"), content.get(version.label)) if isinstance(content, dict) else (None, None)
    if (
        not isinstance(pixels, np.ndarray)
        or not isinstance(labels, list)
        or pixels.dtype != np.uint8
        or pixels.shape != (len(labels), _IMAGE_BYTES)
    ):
        raise ValueError(
            f"{path}: expected 'data' of uint8 (images, {_IMAGE_BYTES}) and as many {version.label!r}, got "
            f"{_describe(content)}"
        )
    if not all(isinstance(label, int) for label in labels):
        raise ValueError(f"{path}: expected whole numbers as {version.label!r}, got {labels[:3]!r:.80}")
    return _checked(path, pixels, np.array(labels, np.int64), num_classes)


def _read_binary(path: Path, version: _Version, num_classes: NumClasses) -> LabelledImages:
    content = np.fromfile(path, np.uint8)
    record = version.label_bytes + _IMAGE_BYTES
    if len(content) % record or not len(content):
        raise ValueError(
            f"{path}: expected records of {record} bytes, got {len(content)} bytes; copy or download it again"
        )
    records = content.reshape(-1, record)
    labels = records[:, int(version.label)].astype(np.int64)
    return _checked(path, records[:, version.label_bytes :], labels, num_classes)


def _checked(path: Path, pixels: np.ndarray, labels: np.ndarray, num_classes: NumClasses) -> LabelledImages:
    if len(labels) and not 0 <= labels.min() <= labels.max() < num_classes:
        raise ValueError(
            f"{path}: expected classes within [0, {num_classes}), got {labels.min()} to {labels.max()}; is this "
            "another data set?"
        )
    images = pixels.reshape(-1, 3, SIZE_PX, SIZE_PX).transpose(0, 2, 3, 1)
    return LabelledImages(np.ascontiguousarray(images), labels)


def _describe(content: Any) -> str:
    if not isinstance(content, dict):
        return type(content).__name__
    return str({key: getattr(value, "shape", type(value).__name__) for key, value in content.items()})[:200]


def _unpickle(path: Path) -> Any:
    """Content of a pickle that holds data alone.

    Raises:
        ValueError: It asks for anything else, or is broken.
    """
    try:
        return _DataUnpickler(io.BytesIO(path.read_bytes()), encoding="latin1").load()
    except _RefusedError as error:
        raise ValueError(
            f"{path}: expected a pickle of arrays, lists and strings, got one that asks for {error}, which could run "
            f"code; get the file at {_SOURCE}"
        ) from None
    except Exception as error:  # a broken pickle can raise nearly anything
        raise ValueError(f"{path}: cannot be read ({error!r:.80}); copy or download it again") from None


class _RefusedError(Exception):
    pass


def _latin1(text: str, encoding: str) -> bytes:
    """How Python 3 writes bytes in the pickle protocol of Python 2."""
    if encoding != "latin1":
        raise _RefusedError(f"the encoding {encoding!r:.40}")
    return text.encode("latin1")


_ARRAY = object()
"""In the place of ``numpy.ndarray``: pickles of arrays name it, and need not call it."""


def _rebuild(subtype: Any, shape: Any, typecode: Any) -> np.ndarray:
    """An empty array, which its pickled state then fills."""
    if subtype is not _ARRAY or shape != (0,):
        raise _RefusedError(f"an array of {subtype!r:.40} {shape!r:.40}")
    return np.ndarray((0,), np.uint8)


_ADMITTED: Mapping[tuple[str, str], Any] = {
    ("numpy", "ndarray"): _ARRAY,
    ("numpy", "dtype"): np.dtype,
    ("numpy.core.multiarray", "_reconstruct"): _rebuild,
    ("numpy._core.multiarray", "_reconstruct"): _rebuild,
    ("_codecs", "encode"): _latin1,
}


class _DataUnpickler(pickle.Unpickler):
    def find_class(self, module_name: str, global_name: str) -> Any:
        """Give what arrays are made of, and refuse all else."""
        try:
            return _ADMITTED[module_name, global_name]
        except KeyError:
            raise _RefusedError(f"{module_name}.{global_name}") from None
