"""Masks are read as the ids that their files store, whatever the number of bits and the format."""

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lightning_edge.data.images.files import label_table, read_mask

_SAME = label_table({label: label for label in range(254)} | {255: 255})
_IDS = np.arange(15 * 11, dtype=np.uint8).reshape(11, 15)
_COLORS = np.random.default_rng(0).integers(0, 256, 768).tolist()


def _png(ids: np.ndarray, bits: int, color_type: int = 0) -> bytes:
    """A PNG written by hand: of ids that are stored in so many bits."""
    rows = np.unpackbits(ids[..., None], axis=-1)[..., 8 - bits :].reshape(len(ids), -1)
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", ids.shape[1], ids.shape[0], bits, color_type, 0, 0, 0))]
    if color_type == 3:
        chunks.append((b"PLTE", bytes(_COLORS[: 3 * 2**bits])))
    chunks += [(b"IDAT", zlib.compress(b"".join(b"\0" + np.packbits(row).tobytes() for row in rows))), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


def _bmp(ids: np.ndarray, bits: int) -> bytes:
    """A BMP written by hand, from bottom to top in rows of whole words."""
    rows = np.unpackbits(ids[::-1, :, None], axis=-1)[..., 8 - bits :].reshape(len(ids), -1)
    rows = np.packbits(np.pad(rows, ((0, 0), (0, -rows.shape[1] % 32))), axis=1)
    palette = b"".join(bytes(_COLORS[3 * index : 3 * index + 3]) + b"\0" for index in range(2**bits))
    header = struct.pack("<IiiHHIIiiII", 40, ids.shape[1], len(ids), 1, bits, 0, 0, 0, 0, 2**bits, 0)
    begin = 14 + len(header) + len(palette)
    return b"BM" + struct.pack("<IHHI", begin + rows.size, 0, 0, begin) + header + palette + rows.tobytes()


def _saved(image: Image.Image, image_format: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, image_format, **options)
    return file.getvalue()


def _palette(ids: np.ndarray, colors: list[int] = _COLORS) -> Image.Image:
    image = Image.fromarray(ids)
    image.putpalette(colors)
    return image


def _read(tmp_path: Path, name: str, data: bytes) -> np.ndarray:
    (tmp_path / name).write_bytes(data)
    return read_mask(tmp_path / name, _SAME)


@pytest.mark.parametrize("color_type", [0, 3], ids=["gray", "palette"])
@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_png_of_few_bits(tmp_path: Path, bits: int, color_type: int):
    ids = _IDS & (2**bits - 1)
    np.testing.assert_array_equal(_read(tmp_path, "a.png", _png(ids, bits, color_type)), ids)


@pytest.mark.parametrize("bits", [1, 4, 8])
def test_bmp_with_a_palette(tmp_path: Path, bits: int):
    ids = _IDS & (2**bits - 1)
    np.testing.assert_array_equal(_read(tmp_path, "a.bmp", _bmp(ids, bits)), ids)


@pytest.mark.parametrize("image_format", ["PNG", "BMP", "TIFF"])
@pytest.mark.parametrize("colors", [_COLORS, [index // 3 for index in range(768)]], ids=["colors", "grays"])
def test_palettes_that_pillow_writes(tmp_path: Path, image_format: str, colors: list[int]):
    np.testing.assert_array_equal(_read(tmp_path, "a", _saved(_palette(_IDS, colors), image_format)), _IDS)


def test_gif(tmp_path: Path):
    ids = _IDS % 4  # with all of them in use, Pillow keeps their order
    np.testing.assert_array_equal(_read(tmp_path, "a.gif", _saved(_palette(ids), "GIF")), ids)


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "packbits", "tiff_deflate"])
@pytest.mark.parametrize("mode", ["1", "L", "P", "I;16"])
def test_tiff(tmp_path: Path, mode: str, compression: str):
    if mode == "1":
        ids = _IDS % 2
        image = Image.fromarray(ids * 255).convert("1", dither=Image.Dither.NONE)
    else:
        ids = _IDS
        image = _palette(ids) if mode == "P" else Image.fromarray(ids.astype(np.uint16 if mode == "I;16" else np.uint8))
    np.testing.assert_array_equal(_read(tmp_path, "a.tif", _saved(image, "TIFF", compression=compression)), ids)


def _tiff(ids: np.ndarray, bits: int, is_reversed: bool) -> bytes:
    """A TIFF written by hand: of gray in so many bits, the first pixel in the highest or in the lowest bits."""
    rows = np.unpackbits(ids[..., None], axis=-1)[..., 8 - bits :].reshape(len(ids), -1)
    packed = np.packbits(rows, axis=1)
    pixels = np.packbits(np.unpackbits(packed[..., None], axis=-1)[..., ::-1]) if is_reversed else packed
    tags = {256: ids.shape[1], 257: len(ids), 258: bits, 259: 1, 262: 1, 266: 2 if is_reversed else 1, 273: 8, 277: 1}
    tags |= {278: len(ids), 279: pixels.size}
    directory = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", tag, 4, 1, tags[tag]) for tag in tags)
    return b"II*\0" + struct.pack("<I", 8 + pixels.size) + pixels.tobytes() + directory + bytes(4)


@pytest.mark.parametrize("is_reversed", [False, True])
@pytest.mark.parametrize("bits", [1, 2, 4])
def test_tiff_of_few_bits(tmp_path: Path, bits: int, is_reversed: bool):
    ids = _IDS & (2**bits - 1)
    np.testing.assert_array_equal(_read(tmp_path, "a.tif", _tiff(ids, bits, is_reversed)), ids)


@pytest.mark.parametrize("mode", ["LA", "RGB", "RGBA"])
@pytest.mark.parametrize("image_format", ["PNG", "TIFF"])
def test_gray_with_equal_channels(tmp_path: Path, image_format: str, mode: str):
    image = Image.fromarray(_IDS).convert(mode)
    if mode[-1] == "A":
        image.putalpha(Image.fromarray(255 - _IDS))
    np.testing.assert_array_equal(_read(tmp_path, "a", _saved(image, image_format)), _IDS)


def test_sixteen_bits(tmp_path: Path):
    ids = np.array([[0, 253], [255, 7]], np.uint16)
    np.testing.assert_array_equal(_read(tmp_path, "a.png", _saved(Image.fromarray(ids), "PNG")), ids)
    # instances of Cityscapes have ids such as 26001, whose lower byte alone would pass for a class
    with pytest.raises(ValueError, match=r"b\.png: expected label ids among .*got \[256, 26001\]; .*another data set"):
        _read(tmp_path, "b.png", _saved(Image.fromarray(np.array([[256, 26001, 3]], np.uint16)), "PNG"))


@pytest.mark.parametrize("most", [1, 15, 100, 255, 1000, 65535])
def test_pgm_of_any_range(tmp_path: Path, most: int):
    ids = np.array([[0, 1, min(most, 99)]], np.uint16)
    pixels = ids.astype(np.uint8 if most < 256 else ">u2").tobytes()
    np.testing.assert_array_equal(_read(tmp_path, "a.ppm", b"P5 3 1 %d\n" % most + pixels), ids)


def test_what_holds_no_ids_is_refused(tmp_path: Path):
    rgb = np.stack([_IDS, _IDS, _IDS[::-1]], -1)
    with pytest.raises(ValueError, match=r"a\.png: expected a mask with one 8-bit label id.*uint8 \(11, 15, 3\)"):
        _read(tmp_path, "a.png", _saved(Image.fromarray(rgb), "PNG"))
    floats = Image.fromarray(_IDS.astype(np.float32))
    with pytest.raises(
        ValueError, match=r"b\.tif: expected a mask .* got F of more than 8 bits; save it as 8-bit gray"
    ):
        _read(tmp_path, "b.tif", _saved(floats, "TIFF"))
    wide = _png(np.repeat(_IDS, 6, 1), 8)  # RGB of 16 bits, whose lower bytes Pillow would drop
    header = struct.pack(">IIBBBBB", 15, 11, 16, 2, 0, 0, 0)
    wide = wide[:16] + header + struct.pack(">I", zlib.crc32(b"IHDR" + header)) + wide[33:]
    with pytest.raises(ValueError, match=r"c\.png: expected a mask .* got RGB of more than 8 bits"):
        _read(tmp_path, "c.png", wide)


def test_gray_that_is_stored_inverted_is_refused(tmp_path: Path):
    data = _saved(Image.fromarray(_IDS), "TIFF", tiffinfo={262: 0})
    assert Image.open(io.BytesIO(data)).tag_v2[262] == 0  # white is zero
    with pytest.raises(
        ValueError, match=r"a\.tif: expected a mask .* got a gray image that stores white as 0; save it as"
    ):
        _read(tmp_path, "a.tif", data)
    for bitmap in (b"P1 2 1\n0 1", b"P4 2 1\n\x40"):
        with pytest.raises(
            ValueError, match=r"a\.pbm: expected a mask .* got a gray image that stores white as 0; save it as"
        ):
            _read(tmp_path, "a.pbm", bitmap)


@pytest.mark.parametrize("image_format", ["PNG", "TIFF", "GIF", "WEBP", "JPEG"])
@pytest.mark.parametrize("kept", [0.3, 0.8])
def test_a_cut_mask(tmp_path: Path, image_format: str, kept: float):
    noise = np.random.default_rng(0).integers(0, 254, (64, 64), dtype=np.uint8)
    options = {"TIFF": {"compression": "tiff_deflate"}, "WEBP": {"lossless": True}}.get(image_format, {})
    data = _saved(Image.fromarray(noise), image_format, **options)
    with pytest.raises(ValueError, match=r"a\.png: cannot be decoded, it is truncated.*copy or download it again"):
        _read(tmp_path, "a.png", data[: int(kept * len(data))])


def test_a_flipped_bit_in_a_png(tmp_path: Path):
    data = bytearray(_png(np.random.default_rng(0).integers(0, 34, (64, 64), dtype=np.uint8), 8))
    for position in [*range(60, len(data), 400), *range(len(data) - 100, len(data) - 12)]:  # to the end of the pixels
        data[position] ^= 4
        with pytest.raises(ValueError, match=r"a\.png: cannot be decoded"):
            _read(tmp_path, "a.png", bytes(data))
        data[position] ^= 4


@pytest.mark.parametrize(("label_id", "label"), [(-1, 0), (256, 0), (0, -1), (0, 256), (0, 254)])
def test_a_table_holds_bytes_only(label_id: int, label: int):
    with pytest.raises(ValueError, match=rf"expected label ids within 0\.\.255.*got id {label_id} for class {label}"):
        label_table({label_id: label})
