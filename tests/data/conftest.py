"""Tiny data sets in the layouts of the real ones."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

HEIGHT, WIDTH = 16, 32


def write_image(path: Path, value: int) -> None:
    """An image whose red channel is a marker, with a little structure so that flips show."""
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    image[..., 2] = value
    image[..., 0] = np.arange(WIDTH)
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), image)


def write_mask(path: Path, ids: np.ndarray | int) -> None:
    mask = np.broadcast_to(np.asarray(ids, np.uint8), (HEIGHT, WIDTH))
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.ascontiguousarray(mask))


@pytest.fixture(scope="session")
def cityscapes_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six training and two validation snippets; red is 30 * snippet + position in the training split."""
    root = tmp_path_factory.mktemp("cityscapes")
    for split, city, num_snippets in (("train", "aachen", 6), ("val", "lindau", 2)):
        for snippet in range(num_snippets):
            for position in range(30):
                name = f"{city}_{snippet:06d}_{position:06d}_leftImg8bit.png"
                write_image(root / "leftImg8bit_sequence" / split / city / name, 30 * snippet + position)
            labeled = f"{city}_{snippet:06d}_{19:06d}"
            write_image(root / "leftImg8bit" / split / city / f"{labeled}_leftImg8bit.png", 30 * snippet + 19)
            ids = np.arange(WIDTH) // 16 * 19 + 7  # road, then car
            write_mask(root / "gtFine" / split / city / f"{labeled}_gtFine_labelIds.png", ids)
    return root


@pytest.fixture(scope="session")
def camvid_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten images a second apart in each of two training sequences, twelve dense ones, six for testing."""
    root = tmp_path_factory.mktemp("camvid")
    images = [("train", f"0001TP_{30 * index:06d}") for index in range(10)]
    images += [("train", f"0006R0_f{900 + 30 * index:05d}") for index in range(10)]
    images += [("train", f"0016E5_{30 * index:05d}") for index in range(10) if index != 4]
    images += [("val", f"0016E5_{1000 + 2 * index:05d}") for index in range(12)]
    images += [("test", f"0001TP_{300 + 30 * index:06d}") for index in range(6)]
    for value, (split, name) in enumerate(images):
        write_image(root / split / f"{name}.png", value)
        write_mask(root / f"{split}annot" / f"{name}.png", 11 * (np.arange(WIDTH) // 16))
    return root


def leave_system_files(root: Path) -> None:
    """What Windows and macOS leave in every folder, and beside every file."""
    for folder in [root, *(path for path in root.rglob("*") if path.is_dir())]:
        for path in list(folder.iterdir()):
            if path.is_file():
                (folder / f"._{path.name}").write_bytes(b"\0\5\26\7")
        for name in ("Thumbs.db", ".DS_Store", "desktop.ini"):
            (folder / name).write_bytes(b"\0")
        (folder / "__MACOSX").mkdir()


@pytest.fixture(scope="module")
def sample_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """An empty folder for generated data, so that tests neither find nor leave any."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LIGHTNING_EDGE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield
