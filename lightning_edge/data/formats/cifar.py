"""Files of CIFAR-10 and CIFAR-100 as Krizhevsky published them, in the Python version and the binary version.

Layout: https://www.cs.toronto.edu/~kriz/cifar.html. The Python version is pickled, and a pickle can run any code. So it
is read by :mod:`lightning_edge.data.formats.data_pickle`, which only supports data.
"""

from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from lightning_edge.data.files import names_in, read_file
from lightning_edge.data.formats.data_pickle import ByteArray, NotDataError, load_data
from lightning_edge.data.labeled_images import LabeledImages
from lightning_edge.data.shown import shown

NumClasses = Literal[10, 100]

SIZE_PX = 32
_IMAGE_BYTES = 3 * SIZE_PX * SIZE_PX
_SOURCE = "https://www.cs.toronto.edu/~kriz/cifar.html"
_REMEDY = f"download it from {_SOURCE}"
_MAX_FILE_BYTES = 2**28
"""Size limit. The largest file, of the training images of CIFAR-100, has 155 million bytes."""


class _Version(NamedTuple):
    folder: str
    train: tuple[str, ...]
    test: tuple[str, ...]
    label: str | int
    """Key of the classes in a Python file, or index of the byte before the pixels in a binary file."""
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


def read_cifar(root: Path, num_classes: NumClasses, split: Literal["train", "test"]) -> LabeledImages:
    """Read all images of a split.

    Args:
        root: The unpacked folder, such as ``cifar-10-batches-py``, or its parent folder.
        num_classes: 10 for CIFAR-10, or 100 for CIFAR-100 with its fine classes.
        split: Part of the data set.

    Raises:
        FileNotFoundError: A file is missing.
        ValueError: A file is damaged, is not a file of CIFAR, or has invalid content.
    """
    folder, version = _find(root, num_classes)
    names = version.train if split == "train" else version.test
    present = names_in(folder)
    missing = [name for name in names if name not in present]
    if missing:
        raise FileNotFoundError(f"{folder}: expected the files {list(names)}, but {missing} are missing; see {_SOURCE}")
    read = _read_binary if version.label_bytes else _read_python
    parts = [read(folder / name, version, num_classes) for name in names]
    return LabeledImages(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def _find(root: Path, num_classes: NumClasses) -> tuple[Path, _Version]:
    versions = _VERSIONS[num_classes]
    for version in versions:
        for folder in (root / version.folder, root):
            if not names_in(folder).isdisjoint((*version.train, *version.test)):
                return folder, version
    archive = next(iter(sorted(root.glob(f"cifar-{num_classes}-*.tar.gz"))), None)
    raise FileNotFoundError(
        f"There is no file of CIFAR-{num_classes} in {root}: expected {versions[0].folder}/{versions[0].train[0]} or "
        f"{versions[1].folder}/{versions[1].train[0]}; "
        + (f"unpack {archive}" if archive else f"download it from {_SOURCE}")
    )


def _read_python(path: Path, version: _Version, num_classes: NumClasses) -> LabeledImages:
    content = _unpickle(path)
    pixels, labels = (content.get("data"), content.get(version.label)) if isinstance(content, dict) else (None, None)
    if not isinstance(pixels, ByteArray) or not isinstance(labels, list) or pixels.shape != (len(labels), _IMAGE_BYTES):
        raise ValueError(
            f"{path}: expected 'data' of uint8 (images, {_IMAGE_BYTES}) and as many {version.label!r}, got "
            f"{_describe(content)}; is this another file?"
        )
    if not all(type(label) is int for label in labels):
        raise ValueError(
            f"{path}: expected whole numbers as {version.label!r}, got {shown(labels)}; copy or download it again"
        )
    try:
        values = pixels.values()
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: cannot be read ({error!r:.80}); copy or download it again") from None
    return _checked(path, values, labels, num_classes)


def _read_binary(path: Path, version: _Version, num_classes: NumClasses) -> LabeledImages:
    content = np.frombuffer(read_file(path, _MAX_FILE_BYTES, _REMEDY), np.uint8)
    record = version.label_bytes + _IMAGE_BYTES
    if len(content) % record:
        raise ValueError(
            f"{path}: expected records of {record} bytes, got {len(content)} bytes; copy or download it again"
        )
    records = content.reshape(-1, record)
    labels = records[:, int(version.label)].tolist()
    return _checked(path, records[:, version.label_bytes :], labels, num_classes)


def _checked(path: Path, pixels: np.ndarray, labels: list[int], num_classes: NumClasses) -> LabeledImages:
    if not labels:
        raise ValueError(f"{path}: expected one image or more, got none; copy or download it again")
    least, largest = min(labels), max(labels)
    if not 0 <= least <= largest < num_classes:
        raise ValueError(
            f"{path}: expected classes within [0, {num_classes}), got {shown(least)} to {shown(largest)}; "
            "is this another data set?"
        )
    images = pixels.reshape(-1, 3, SIZE_PX, SIZE_PX).transpose(0, 2, 3, 1)
    return LabeledImages(np.ascontiguousarray(images), np.array(labels, np.int64))


def _describe(content: Any) -> str:
    if not isinstance(content, dict):
        return type(content).__name__
    return shown({key: getattr(value, "shape", type(value).__name__) for key, value in content.items()})


def _unpickle(path: Path) -> Any:
    pickled = read_file(path, _MAX_FILE_BYTES, _REMEDY)
    try:
        return load_data(pickled)
    except NotDataError as error:
        raise ValueError(
            f"{path}: expected a pickle of arrays, lists and strings, got a pickle that {error}; {_REMEDY}"
        ) from None
    except Exception as error:  # a damaged pickle can raise nearly any error
        raise ValueError(f"{path}: cannot be read ({error!r:.80}); copy or download it again") from None
