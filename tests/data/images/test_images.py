from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from torch.utils.data import DataLoader, Dataset

from lightning_edge.data.images.files import check_same_size, label_table, read_image, read_mask

_TABLE = label_table({0: 3, 1: 0, 7: 255})


def _write(path: Path, array: np.ndarray) -> Path:
    cv2.imwrite(str(path), array)
    return path


@pytest.fixture
def noise() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (12, 20, 3), dtype=np.uint8)


def test_images_are_rgb(tmp_path: Path, noise: np.ndarray):
    path = _write(tmp_path / "a.png", noise)
    np.testing.assert_array_equal(read_image(path), noise[..., ::-1])


def test_gray_images_get_three_channels(tmp_path: Path, noise: np.ndarray):
    assert read_image(_write(tmp_path / "a.png", noise[..., 0])).shape == (12, 20, 3)


def test_masks_are_translated(tmp_path: Path):
    path = _write(tmp_path / "a.png", np.array([[0, 1], [7, 0]], np.uint8))
    np.testing.assert_array_equal(read_mask(path, _TABLE), [[3, 0], [255, 3]])


def test_missing_file(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match=r"a\.png: there is no such file"):
        read_image(tmp_path / "a.png")


@pytest.mark.parametrize("suffix", ["png", "jpg"])
@pytest.mark.parametrize("kept", [0.5, 0.95])
def test_cut_file(tmp_path: Path, noise: np.ndarray, suffix: str, kept: float):
    path = _write(tmp_path / f"a.{suffix}", noise)
    data = path.read_bytes()
    path.write_bytes(data[: int(kept * len(data))])
    with pytest.raises(ValueError, match=rf"a\.{suffix}: cannot be decoded.*download it again"):
        read_image(path)


def test_a_jpeg_may_hold_a_thumbnail_and_have_a_trailer(tmp_path: Path, noise: np.ndarray):
    data = _write(tmp_path / "a.jpg", noise).read_bytes()
    segment = b"\xff\xe1" + (len(data) + 2).to_bytes(2, "big") + data  # the picture in small, as cameras keep it
    film = bytes(np.random.default_rng(1).integers(0, 256, 100_000, dtype=np.uint8))
    (tmp_path / "b.jpg").write_bytes(data[:2] + segment + data[2:] + film)
    np.testing.assert_array_equal(read_image(tmp_path / "b.jpg"), read_image(tmp_path / "a.jpg"))
    (tmp_path / "c.jpg").write_bytes(data[:2] + segment + data[2 : len(data) // 2])
    with pytest.raises(ValueError, match=r"c\.jpg: cannot be decoded"):
        read_image(tmp_path / "c.jpg")


def test_empty_file(tmp_path: Path):
    (tmp_path / "a.png").touch()
    with pytest.raises(ValueError, match=r"a\.png: the file is empty"):
        read_image(tmp_path / "a.png")


def test_not_an_image(tmp_path: Path):
    (tmp_path / "a.png").write_text("hello")
    with pytest.raises(ValueError, match=r"a\.png: cannot be decoded"):
        read_image(tmp_path / "a.png")


def test_unknown_label_ids(tmp_path: Path):
    path = _write(tmp_path / "a.png", np.array([[0, 1], [2, 9]], np.uint8))
    with pytest.raises(ValueError, match=r"a\.png: expected label ids among 0\.\.1, 7, got \[2, 9\]"):
        read_mask(path, _TABLE)


def test_a_mask_of_colors(tmp_path: Path, noise: np.ndarray):
    with pytest.raises(ValueError, match=r"a\.png: expected a mask with one 8-bit label id.*uint8 \(12, 20, 3\)"):
        read_mask(_write(tmp_path / "a.png", noise), _TABLE)


def test_sizes_that_differ(noise: np.ndarray):
    with pytest.raises(ValueError, match=r"\(12, 20\) in a\.png and \(12, 19\) in b\.png; resize"):
        check_same_size(noise, noise[:, :19, 0], Path("a.png"), Path("b.png"))


class _Files(Dataset[np.ndarray]):
    def __init__(self, paths: list[Path]) -> None:
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> np.ndarray:
        return read_image(self.paths[index])


@pytest.mark.parametrize(("name", "message"), [("broken", "cannot be decoded"), ("gone", "there is no such file")])
def test_the_file_is_named_through_a_worker(tmp_path: Path, name: str, message: str):
    (tmp_path / "broken.png").write_text("hello")
    iterator: Any = iter(DataLoader(_Files([tmp_path / f"{name}.png"]), num_workers=1))
    with pytest.raises((ValueError, FileNotFoundError), match=rf"{name}\.png: {message}"):
        next(iterator)
    iterator._shutdown_workers()  # else torch waits five seconds for each worker
