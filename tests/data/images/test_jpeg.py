"""JPEGs whose coded data are not whole are refused, and no whole one is."""

import io
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from lightning_edge.data.images.jpeg import decode, decode_jpeg

HEIGHT, WIDTH = 80, 120


def _picture(kind: str) -> np.ndarray:
    random = np.random.default_rng(0)
    image = cv2.resize(random.integers(0, 256, (5, 7, 3), dtype=np.uint8), (WIDTH, HEIGHT))
    image = cv2.add(image, random.integers(0, 12, image.shape, dtype=np.uint8))
    if kind in ("black", "white"):
        image[:] = 0 if kind == "black" else 255
    if kind == "half black":  # as of a film with bars
        image[HEIGHT // 2 :] = 0
    return image


ENCODINGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "optimized": {"optimize": True},
    "restarts": {"restart_marker_rows": 1},
    "optimized restarts": {"restart_marker_rows": 1, "optimize": True},
    "full color": {"subsampling": 0, "quality": 95},
    "progressive": {"progressive": True},
}
ALL_ENCODINGS = ENCODINGS | {"progressive restarts": {"progressive": True, "restart_marker_rows": 1}}


def _encoded(encoding: str, kind: str = "photo", mode: str = "RGB") -> bytes:
    file = io.BytesIO()
    Image.fromarray(_picture(kind)).convert(mode).save(file, "JPEG", **ALL_ENCODINGS[encoding])
    return file.getvalue()


@pytest.mark.parametrize("encoding", ALL_ENCODINGS)
@pytest.mark.parametrize("kind", ["photo", "black", "white", "half black"])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_whole_files_are_as_their_decoder_gives_them(encoding: str, kind: str, mode: str):
    data = _encoded(encoding, kind, mode)
    np.testing.assert_array_equal(decode_jpeg(data, cv2.IMREAD_COLOR_RGB), decode(data, cv2.IMREAD_COLOR_RGB))


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("share", [0.4, 0.6, 0.8, 0.95])
def test_cut_but_with_an_end(encoding: str, share: float):
    data = _encoded(encoding)
    begin = data.index(b"\xff\xda") + 14
    cut = data[: begin + int(share * (len(data) - begin))] + b"\xff\xd9"
    assert decode(cut, cv2.IMREAD_COLOR_RGB) is not None  # OpenCV takes it
    assert decode_jpeg(cut, cv2.IMREAD_COLOR_RGB) is None


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("share", [0.3, 0.5, 0.7])
def test_zeros_in_the_middle(encoding: str, share: float):
    data = _encoded(encoding)
    begin = int(share * len(data))
    zeroed = data[:begin] + bytes(512) + data[begin + 512 :]
    assert decode_jpeg(zeroed, cv2.IMREAD_COLOR_RGB) is None


@pytest.mark.parametrize("restarts", [{"restart_marker_rows": 1}, {"restart_marker_blocks": 7}])
@pytest.mark.parametrize("num_lost", [1, 8, 9])
def test_stretches_lost_at_the_end_of_a_scan(restarts: dict[str, int], num_lost: int):
    file = io.BytesIO()
    Image.fromarray(_picture("photo")).save(file, "JPEG", progressive=True, **restarts)
    data = file.getvalue()
    last_scan = data.rindex(b"\xff\xda")
    markers = [place for place in range(last_scan, len(data)) if data[place] == 0xFF and 0xD0 <= data[place + 1] < 0xD8]
    cut = data[: markers[-num_lost]] + data[-2:]
    assert decode(cut, cv2.IMREAD_COLOR_RGB) is not None  # OpenCV takes it
    assert decode_jpeg(cut, cv2.IMREAD_COLOR_RGB) is None


@pytest.mark.parametrize("encoding", ALL_ENCODINGS)
@pytest.mark.parametrize("size", [(1, 1), (1, 30), (30, 1)])
def test_whole_files_a_pixel_wide(encoding: str, size: tuple[int, int]):
    file = io.BytesIO()
    Image.new("RGB", size, (200, 100, 30)).save(file, "JPEG", **ALL_ENCODINGS[encoding])
    assert decode_jpeg(file.getvalue(), cv2.IMREAD_COLOR_RGB) is not None


@pytest.mark.parametrize("encoding", ["plain", "restarts", "full color"])
def test_zeros_up_to_the_end(encoding: str):
    data = _encoded(encoding)
    middle = len(data) * 2 // 3
    zeroed = data[:middle] + bytes(len(data) - 2 - middle) + data[-2:]
    assert decode_jpeg(zeroed, cv2.IMREAD_COLOR_RGB) is None


@pytest.mark.parametrize("encoding", ALL_ENCODINGS)
def test_whole_files_are_read_in_silence(encoding: str, capfd: pytest.CaptureFixture[str]):
    for kind in ("photo", "half black"):
        decode_jpeg(_encoded(encoding, kind), cv2.IMREAD_COLOR_RGB)
    assert capfd.readouterr().err == ""  # where libjpeg would write a line for each file


@pytest.mark.parametrize("encoding", ["plain", "progressive"])
def test_a_piece_left_out(encoding: str):
    data = _encoded(encoding)
    middle = len(data) // 2
    assert decode_jpeg(data[:middle] + data[middle + 300 :], cv2.IMREAD_COLOR_RGB) is None


def test_bytes_that_a_camera_puts_before_the_end_do_no_harm():
    data = _encoded("plain")
    padded = data[:-2] + b"\xff" * 5 + data[-2:]
    np.testing.assert_array_equal(decode_jpeg(padded, cv2.IMREAD_COLOR_RGB), decode(data, cv2.IMREAD_COLOR_RGB))


def test_a_file_of_thousands_of_scans_is_refused_at_once():
    data = _encoded("progressive", "black")
    last = data.rindex(b"\xff\xda")
    assert decode_jpeg(data[:-2] + data[last:-2] * 5_000 + data[-2:], cv2.IMREAD_COLOR_RGB) is None
