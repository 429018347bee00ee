"""Sample data in the layout of MNIST and MNIST-M."""

import gzip
import struct
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from lightning_edge.checks import check_whole_at_least
from lightning_edge.samples.cache import make_once
from lightning_edge.samples.handwriting import SIZE_PX, draw_digit
from lightning_edge.samples.writing import write_rgb

DIGITS_VERSION = 1
"""Version of the images. It is increased when they change, which invalidates numbers that were measured on them."""
COLORED_SIZE_PX = 32
NUM_CLASSES = 10


def sample_digits(num_train: int = 2400, num_test: int = 1000, seed: int = 0) -> Path:
    """Folder of a data set in the layout of MNIST, in ``mnist/``, and of the test part of MNIST-M, in ``mnist_m/``.

    The numbers of images of the classes differ by at most one. Image k of MNIST-M is image k of MNIST's ``t10k``.

    Args:
        num_train: Number of images in MNIST's training file.
        num_test: Number of images in MNIST's test file, and in MNIST-M.
        seed: Seed of the images.

    Raises:
        ValueError: An argument is out of range.
    """
    check_whole_at_least(NUM_CLASSES, num_train=num_train, num_test=num_test)
    check_whole_at_least(0, seed=seed)

    def write(root: Path) -> None:
        _write_mnist(root / "mnist", "train", *_draw(0, num_train, seed))
        digits, labels = _draw(1, num_test, seed)
        _write_mnist(root / "mnist", "t10k", digits, labels)
        _write_mnist_m(root / "mnist_m", digits, labels, seed)

    return make_once("digits", DIGITS_VERSION, {"num_train": num_train, "num_test": num_test, "seed": seed}, write)


def _draw(part: int, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    labels = np.random.default_rng([seed, part]).permutation(np.arange(count) % NUM_CLASSES).astype(np.uint8)
    images = [draw_digit(int(label), np.random.default_rng([seed, part, index])) for index, label in enumerate(labels)]
    return np.stack(images), labels


def _write_mnist(folder: Path, part: str, images: np.ndarray, labels: np.ndarray) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for kind, values in (("images", images), ("labels", labels)):
        header = struct.pack(f">{1 + values.ndim}I", 0x0800 + values.ndim, *values.shape)
        path = folder / f"{part}-{kind}-idx{values.ndim}-ubyte.gz"
        path.write_bytes(gzip.compress(header + values.tobytes(), mtime=0))


def _write_mnist_m(folder: Path, digits: np.ndarray, labels: np.ndarray, seed: int) -> None:
    names = [f"{index:08d}.png" for index in range(len(labels))]
    for index, (name, digit) in enumerate(zip(names, digits, strict=True)):
        write_rgb(folder / "mnist_m_test" / name, _on_a_patch(digit, np.random.default_rng([seed, 2, index])))
    lines = [f"{name} {label}\n" for name, label in zip(names, labels, strict=True)]
    (folder / "mnist_m_test_labels.txt").write_text("".join(lines))


def _on_a_patch(digit: np.ndarray, rng: np.random.Generator) -> UInt8[np.ndarray, "32 32 3"]:
    """A digit blended with a patch by their absolute difference, as in MNIST-M (arXiv:1409.7495, section 4.1).

    As in the files of MNIST-M, every pixel that is not black belongs completely to the digit.
    """
    mask = np.pad(digit, (COLORED_SIZE_PX - SIZE_PX) // 2) > 0
    patch = _patch(rng)
    return np.where(mask[..., None], 255 - patch, patch)


def _patch(rng: np.random.Generator) -> UInt8[np.ndarray, "32 32 3"]:
    """Random blotches on one color, instead of patches of photographs. Larger blotches are stronger.

    As in natural images, amplitudes fall with frequency (Field, 1987), and light varies more than color.
    """
    patch = np.full((COLORED_SIZE_PX, COLORED_SIZE_PX, 3), rng.uniform(30, 225) + rng.normal(0, 30, 3), np.float32)
    strength = rng.uniform(10, 60)
    for num_blotches in (2, 4, 8, 16, 32):
        light = rng.normal(0, 1, (num_blotches, num_blotches, 1))
        color = rng.normal(0, 0.3, (num_blotches, num_blotches, 3))
        blotches = cv2.resize((light + color).astype(np.float32), patch.shape[:2], interpolation=cv2.INTER_CUBIC)
        patch = patch + blotches * strength * (2 / num_blotches) ** 0.5
    return np.rint(np.clip(patch, 0, 255)).astype(np.uint8)
