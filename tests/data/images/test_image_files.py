"""Files that are no images, declare too much, or are broken give one error that names them, in bounded memory."""

import io
import os
import resource
import struct
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from lightning_edge.data import DetectionDataModule, FramesDataModule
from lightning_edge.data.images.files import label_table, read_image, read_mask
from lightning_edge.data.images.headers import stored_size

_TABLE = label_table({0: 0})
READERS: list[Callable[[Path], Any]] = [read_image, lambda path: read_mask(path, _TABLE), stored_size]


def _jpeg_of(height: int, width: int) -> bytes:
    data = bytearray(cv2.imencode(".jpg", np.zeros((8, 8, 3), np.uint8))[1].tobytes())
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
    return bytes(data)


def _png_of(height: int, width: int, bits: int = 8, color_type: int = 0) -> bytes:
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, bits, color_type, 0, 0, 0)
    pixels = b"IDAT" + zlib.compress(bytes(100_000))
    chunks = [
        struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) for chunk in (header, pixels)
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@cache
def _blank_webp() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (5000, 5000)).save(file, "WEBP", lossless=True, method=0)
    return file.getvalue()


BOMBS = {
    "jpeg": lambda: _jpeg_of(10_000, 10_000),
    "large jpeg": lambda: _jpeg_of(30_000, 30_000),
    "png": lambda: _png_of(30_000, 30_000),
    "rgb png": lambda: _png_of(9_000, 9_000, 8, 2),
    "png beyond OpenCV": lambda: _png_of(2**30, 2**30),
    "bmp": lambda: b"BM" + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, 9_000, 9_000, 1, 24, 0, 0, 0, 0, 0, 0),
    "ppm": lambda: b"P6 9000 9000 255\n",
    "webp": _blank_webp,
}


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("read", READERS, ids=["image", "mask", "size"])
@pytest.mark.parametrize("bomb", BOMBS)
def test_a_size_that_the_bytes_can_hardly_hold(tmp_path: Path, bomb: str, read: Callable[[Path], Any]):
    (tmp_path / "a.png").write_bytes(BOMBS[bomb]())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ValueError, match=r"a\.png: expected at most [\d,]+ pixels.* declares"):
        read(tmp_path / "a.png")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB


@pytest.mark.parametrize(("height", "width"), [(4096, 4096), (3000, 5000)])
def test_blank_images_of_ordinary_size_are_read(tmp_path: Path, height: int, width: int):
    Image.new("1", (width, height)).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png").shape == (height, width, 3)
    assert not read_mask(tmp_path / "a.png", _TABLE).any()


def test_a_file_of_too_many_bytes(tmp_path: Path):
    with (tmp_path / "a.png").open("wb") as file:
        file.truncate(2**33)  # takes no room on disk
    for read in READERS:
        with pytest.raises(ValueError, match=r"a\.png: expected a file of at most .* bytes, got 8589934592; copy or"):
            read(tmp_path / "a.png")


def _make_folder(path: Path) -> None:
    path.mkdir()


def _make_loop(path: Path) -> None:
    path.symlink_to(path)


def _make_endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


def _make_dangling(path: Path) -> None:
    path.symlink_to(path.with_name("gone.png"))


KINDS = {
    "folder": (_make_folder, r"expected a file, got a folder"),
    "fifo": (os.mkfifo, r"expected a file, got a named pipe"),
    "device": (_make_endless, r"expected a file, got a device"),
    "loop": (_make_loop, r"cannot be read \(Too many levels of symbolic links\)"),
    "dangling": (_make_dangling, r"there is no such file"),
}


@pytest.mark.parametrize("read", READERS, ids=["image", "mask", "size"])
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_file(tmp_path: Path, kind: str, read: Callable[[Path], Any]):
    make, message = KINDS[kind]
    make(tmp_path / "a.png")
    with pytest.raises((ValueError, OSError), match=rf"a\.png: {message}"):
        read(tmp_path / "a.png")


@pytest.mark.parametrize("read", READERS, ids=["image", "mask", "size"])
def test_an_unreadable_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: Callable[[Path], Any]):
    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")  # the tests may run as root, who may read everything

    (tmp_path / "a.png").write_bytes(b"x")
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(OSError, match=r"a\.png: cannot be read \(Permission denied\); check the permissions"):
        read(tmp_path / "a.png")


@pytest.mark.parametrize("kind", ["fifo", "device", "loop"])
def test_what_is_no_file_among_frames(tmp_path: Path, kind: str):
    cv2.imwrite(str(tmp_path / "1.png"), np.zeros((8, 8, 3), np.uint8))
    make, message = KINDS[kind]
    make(tmp_path / "2.png")
    data = FramesDataModule(tmp_path)
    data.setup("predict")
    with pytest.raises((ValueError, OSError), match=rf"2\.png: {message}"):
        list(data.predict_dataloader())
    with pytest.raises((ValueError, OSError), match=r"source .*2\.png: "):
        FramesDataModule(tmp_path / "2.png").setup("predict")


@pytest.mark.parametrize("mode", ["I;16", "RGB 16", "F", "PPM"])
@pytest.mark.parametrize("upright", [False, True])
def test_images_of_more_than_8_bits(tmp_path: Path, mode: str, upright: bool):
    path = tmp_path / "a.png"
    dark = np.full((8, 8), 4000, np.uint16)
    if mode == "RGB 16":
        cv2.imwrite(str(path), np.stack([dark] * 3, -1))
    elif mode == "PPM":
        path.write_bytes(b"P6 8 8 4095\n" + np.stack([dark] * 3, -1).astype(">u2").tobytes())
    else:
        Image.fromarray(dark.astype(np.uint16 if mode == "I;16" else np.float32)).save(path, "TIFF")
    with pytest.raises(
        ValueError, match=r"a\.png: expected 8 bits per channel, got values up to .*save it with 8 bits"
    ):
        read_image(path, upright)


def test_images_of_few_bits_are_scaled_to_white(tmp_path: Path):
    Image.fromarray(np.eye(8, dtype=np.uint8) * 255).convert("1").save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png")[..., 0], np.eye(8) * 255)


@pytest.mark.parametrize("most", [1, 15, 100, 254, 255])
@pytest.mark.parametrize("is_in_digits", [False, True])
def test_pnm_images_of_any_range_are_scaled_to_white(tmp_path: Path, most: int, is_in_digits: bool):
    colors = np.array([[[0, most, most // 2], [most, 0, 0]]], np.uint8)
    for kind, pixels in ((2, colors[..., 0]), (3, colors)):
        digits = b"P%d 2 1 %d\n%s" % (kind, most, b" ".join(b"%d" % value for value in pixels.ravel()))
        data = digits if is_in_digits else b"P%d 2 1 %d\n%s" % (kind + 3, most, pixels.tobytes())
        (tmp_path / "a.ppm").write_bytes(data)
        expected = pixels if kind == 3 else np.repeat(pixels[..., None], 3, axis=-1)
        np.testing.assert_allclose(read_image(tmp_path / "a.ppm"), expected * (255 / most), atol=0.5)
    (tmp_path / "a.pbm").write_bytes(b"P1 2 1\n0 1" if is_in_digits else b"P4 2 1\n\x40")
    np.testing.assert_array_equal(read_image(tmp_path / "a.pbm")[..., 0], [[255, 0]])


def test_a_jpeg_that_ends_in_the_middle(tmp_path: Path):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    data = cv2.imencode(".jpg", noise)[1].tobytes()
    (tmp_path / "a.jpg").write_bytes(data[: len(data) // 2] + b"\xff\xd9")
    for read in READERS[:2]:
        with pytest.raises(ValueError, match=r"a\.jpg: cannot be decoded"):
            read(tmp_path / "a.jpg")


class Nothing(DetectionDataModule):
    num_classes, class_names, vocabulary = 1, ("a",), {}

    def labeled_images(self, split: Any) -> list[Any]:
        return []


def test_sizes_that_no_memory_holds_are_refused():
    with pytest.raises(ValueError, match=r"expected size of at most 134,217,728 pixels, got \(100000, 100000\)"):
        FramesDataModule("frames", size=(100_000, 100_000))
    with pytest.raises(ValueError, match=r"expected input_size of at most 134,217,728 pixels, got \(100000, 100000\)"):
        Nothing((100_000, 100_000))
