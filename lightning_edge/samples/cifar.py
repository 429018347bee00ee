"""Sample data in the layout of CIFAR-10 and CIFAR-100."""

import pickle
from itertools import product
from pathlib import Path
from typing import Literal

import numpy as np

from lightning_edge.checks import check_whole_at_least
from lightning_edge.samples.cache import make_once
from lightning_edge.samples.shapes import OUTLINE_NAMES, PATTERN_NAMES, SIZE_PX, draw_shape

SHAPES_VERSION = 2
"""Version of the images. It is increased when they change, which invalidates numbers that were measured on them."""
NUM_TRAIN_FILES = 5

CLASS_NAMES: dict[Literal[10, 100], tuple[str, ...]] = {
    10: OUTLINE_NAMES,
    100: tuple(f"{pattern} {outline}" for outline, pattern in product(OUTLINE_NAMES, PATTERN_NAMES)),
}
"""Class names of the two sample data sets."""


def sample_cifar(
    num_train: int = 5000, num_test: int = 1000, num_classes: Literal[10, 100] = 10, seed: int = 0
) -> Path:
    """Folder of a data set in the layout of CIFAR's Python version, which is generated on the first call.

    The numbers of images of the classes differ by at most one.

    Args:
        num_train: Number of training images.
        num_test: Number of test images.
        num_classes: 10 for ten outlines, or 100 for ten outlines with ten patterns each.
        seed: Seed of the images.

    Raises:
        ValueError: An argument is out of range.
    """
    check_whole_at_least(num_classes, num_train=num_train, num_test=num_test)
    check_whole_at_least(0, seed=seed)
    arguments = {"num_train": num_train, "num_test": num_test, "classes": num_classes, "seed": seed}

    def write(root: Path) -> None:
        train, test = (_draw(number, count, num_classes, seed) for number, count in enumerate((num_train, num_test)))
        (_write_cifar10 if num_classes == 10 else _write_cifar100)(root, train, test)

    return make_once(f"cifar{num_classes}", SHAPES_VERSION, arguments, write)


_Images = tuple[np.ndarray, list[int]]


def _draw(split: int, count: int, num_classes: int, seed: int) -> _Images:
    """Images as rows of color planes, and their classes."""
    order = np.random.default_rng([seed, split])
    labels = order.permutation(np.arange(count) % num_classes).tolist()
    rows = np.empty((count, 3 * SIZE_PX * SIZE_PX), np.uint8)
    for index, label in enumerate(labels):
        outline, pattern = (label, None) if num_classes == 10 else divmod(label, len(PATTERN_NAMES))
        image = draw_shape(
            OUTLINE_NAMES[outline],
            None if pattern is None else PATTERN_NAMES[pattern],
            np.random.default_rng([seed, split, index]),
        )
        rows[index] = image.transpose(2, 0, 1).ravel()
    return rows, labels


def _write_cifar10(root: Path, train: _Images, test: _Images) -> None:
    folder = root / "cifar-10-batches-py"
    parts = zip(*(np.array_split(np.asarray(values), NUM_TRAIN_FILES) for values in train), strict=True)
    for number, (rows, labels) in enumerate(parts, start=1):
        name = f"training batch {number} of {NUM_TRAIN_FILES}"
        _write(folder / f"data_batch_{number}", batch_label=name, data=rows, labels=labels.tolist())
    _write(folder / "test_batch", batch_label="testing batch 1 of 1", data=test[0], labels=test[1])
    _write(folder / "batches.meta", label_names=list(CLASS_NAMES[10]), num_vis=3 * SIZE_PX * SIZE_PX)


def _write_cifar100(root: Path, train: _Images, test: _Images) -> None:
    folder = root / "cifar-100-python"
    for name, (rows, labels) in (("train", train), ("test", test)):
        coarse = [label // len(PATTERN_NAMES) for label in labels]
        _write(folder / name, data=rows, fine_labels=labels, coarse_labels=coarse)
    _write(folder / "meta", fine_label_names=list(CLASS_NAMES[100]), coarse_label_names=list(OUTLINE_NAMES))


def _write(path: Path, **content: object) -> None:
    """Write one file of the archive, in the pickle protocol of Python 2, like the published files."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(content, protocol=2))
