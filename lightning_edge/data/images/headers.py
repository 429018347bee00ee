"""Safe opening of image files: format, size, bit depth and orientation are checked before decoding."""

import io
import os
from collections.abc import Callable, Hashable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from PIL import ExifTags, Image

from lightning_edge.data.files import open_file, read_file

_Key = TypeVar("_Key", bound=Hashable)

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".ppm", ".tif", ".tiff")

MAX_PIXELS = 2**27
"""Largest number of pixels of an image, 134 million, which are 0.4 GB as RGB bytes."""

_REMEDY = "copy or download the image again"
_MAX_BYTES = 2**29
_SMALL = 2**24
_MAX_PIXELS_PER_BYTE = 10_000
"""Limit for images with more than 17 million pixels. A blank one-bit PNG has about 8,000, the most of real files."""

_FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "PPM", "TIFF", "GIF")
_INVERSE_ORIENTATION = {6: 8, 8: 6}
"""Inverse of the two quarter turns. The other orientations are their own inverses."""


def open_image(path: Path) -> tuple[bytes, Image.Image]:
    """The bytes of an image file and its header, in bounded memory whatever the file declares. Nothing is decoded.

    Raises:
        FileNotFoundError: The file does not exist.
        OSError: The system does not open or read the file.
        ValueError: The file is not a regular file or not an image, is too large, or declares an implausible size for
            its number of bytes.
    """
    data = read_file(path, _MAX_BYTES, _REMEDY)
    return data, _open_header(io.BytesIO(data), len(data), path)


def stored_size(path: Path) -> tuple[int, int]:
    """Height and width of the stored image, from its header alone. Errors are those of :func:`open_image`."""
    with open_file(path, _MAX_BYTES, _REMEDY) as file:
        header = _open_header(file, os.fstat(file.fileno()).st_size, path)
        is_transposed = (
            header.format == "TIFF" and orientation_of(header, b"") >= 5
        )  # Pillow returns the size after the rotation
        width, height = header.size
        return (width, height) if is_transposed else (height, width)


def _open_header(file: io.BytesIO | io.BufferedReader, num_bytes: int, path: Path) -> Image.Image:
    if num_bytes == 0:
        raise ValueError(f"{path}: the file is empty; {_REMEDY}")
    try:
        image = Image.open(file, formats=_FORMATS)
    except Image.DecompressionBombError:
        raise ValueError(f"{path}: expected at most {MAX_PIXELS:,} pixels, got a header that declares more") from None
    except Exception:  # Pillow raises errors of many types for damaged headers
        raise undecodable(path) from None
    width, height = image.size
    most = max(_SMALL, min(MAX_PIXELS, _MAX_PIXELS_PER_BYTE * num_bytes))
    if width * height > most:
        raise ValueError(
            f"{path}: expected at most {most:,} pixels in {num_bytes:,} bytes, got a header that declares "
            f"{width:,} x {height:,}; copy or download the file again, or make the image smaller"
        )
    return image


def images_in(folder: Path) -> list[Path]:
    """Files of a folder with the suffix of an image, sorted by name.

    Hidden files are skipped, such as the ``._*`` files of macOS. A folder that does not exist has no files.

    Raises:
        OSError: The folder cannot be read.
    """
    try:
        files = sorted(folder.iterdir()) if folder.is_dir() else []
        images = (path for path in files if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith("."))
        return [path for path in images if not path.is_dir()]
    except OSError as error:
        raise OSError(f"{folder}: cannot be read ({error.strerror}); check its permissions") from None


def by_key(paths: Iterable[Path], key: Callable[[Path], _Key]) -> dict[_Key, Path]:
    """Files by a key of their names. Raises a ``ValueError`` if two files have the same key."""
    files: dict[_Key, Path] = {}
    for path in paths:
        if (other := files.setdefault(key(path), path)) is not path:
            raise ValueError(f"expected one file for each frame, got {other} and {path}; remove or rename one of them")
    return files


def undecodable(path: Path) -> ValueError:
    """The error for a file whose pixels cannot be decoded."""
    return ValueError(
        f"{path}: cannot be decoded, it is truncated, damaged or no image; copy or download it again, or save it as PNG"
    )


def load(data: bytes, header: Image.Image, path: Path, mode: str | None = None) -> np.ndarray:
    """Decode by Pillow, which keeps palette indices. Raises a ``ValueError`` if the pixels are damaged.

    Args:
        data: Bytes of the file.
        header: Header of the file, from :func:`open_image`.
        path: Path of the file, for the error.
        mode: Mode of Pillow, such as ``RGB``; that of the file if ``None``.
    """
    try:
        Image.open(io.BytesIO(data), formats=_FORMATS).verify()  # checks the checksums of a PNG, which load() skips
        header.load()
        return np.asarray(header if mode is None else header.convert(mode))
    except Exception:  # Pillow raises errors of many types
        raise undecodable(path) from None


def largest_value(image: Image.Image) -> int:
    """The stored value of white: 1 for one bit, 15 for four bits, 65535 for 16 bits and more."""
    if image.mode == "1":
        return 1
    codec, arguments = _coding(image)
    if codec.startswith("ppm"):
        return arguments[1]
    if image.mode.startswith(("I", "F")) or (
        ";16" in arguments[0] and image.format != "BMP"
    ):  # in BMP, 16 means 5, 6 and 5 bits
        return 65535
    return {"L;2": 3, "L;4": 15}.get(arguments[0].removesuffix("R"), 255)  # R marks a TIFF with reversed bit order


def is_inverted(image: Image.Image) -> bool:
    """Whether a file stores white as 0, so that stored and displayed values differ."""
    return "I" in _coding(image)[1][0].partition(";")[2]


def orientation_of(image: Image.Image, data: bytes) -> int:
    """EXIF orientation of a file, 1 to 8; 1 if there is none or an invalid one."""
    if image.format == "PNG" and b"eXIf" not in data:  # Pillow would decode the image to search after it
        return 1
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # damaged metadata does not affect the pixels
        return 1
    return orientation if orientation in range(1, 9) else 1


def turned(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Stored pixels, rotated and mirrored by an EXIF orientation as viewers do."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    rows = slice(None, None, -1 if orientation in (3, 4, 7, 8) else 1)
    columns = slice(None, None, -1 if orientation in (2, 3, 6, 7) else 1)
    return np.ascontiguousarray(pixels[rows, columns])


def as_stored(pixels: np.ndarray, image_format: str | None, orientation: int) -> np.ndarray:
    """Decoded pixels as they are stored. TIFF decoders always apply the orientation, which is undone here."""
    if image_format != "TIFF":
        return pixels
    return turned(pixels, _INVERSE_ORIENTATION.get(orientation, orientation))


def _coding(image: Image.Image) -> tuple[str, tuple[Any, ...]]:
    """Name and arguments of Pillow's decoder. The first argument is the pixel format, such as ``L;4`` for 4 bits."""
    tile = next(iter(getattr(image, "tile", ())), None)
    if tile is None:
        return "", (image.mode,)
    arguments = tile.args if isinstance(tile.args, tuple) else (tile.args,)
    return tile.codec_name, arguments if arguments and isinstance(arguments[0], str) else (image.mode,)
