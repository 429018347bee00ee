"""Opening image files without believing what they declare: kind, size, depth and orientation are looked at first."""

import io
import stat
from collections.abc import Callable, Hashable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from PIL import ExifTags, Image

_Key = TypeVar("_Key", bound=Hashable)

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".ppm", ".tif", ".tiff")

MAX_PIXELS = 2**27
"""Most pixels of an image, 134 million, which are 0.4 GB as bytes of RGB."""

_MAX_BYTES = 2**29
_SMALL = 2**24
_MAX_PIXELS_PER_BYTE = 10_000
"""Of images with more than 17 million pixels. A blank PNG of one bit has the most of all real files, about 8,000."""

_FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "PPM", "TIFF", "GIF")
_INVERSE_ORIENTATION = {6: 8, 8: 6}
"""Of the two quarter turns; the other orientations are their own inverses."""


def open_image(path: Path) -> tuple[bytes, Image.Image]:
    """The bytes of an image file and its header, in bounded memory whatever the file says; nothing is decoded.

    Raises:
        FileNotFoundError: There is no such file.
        OSError: It cannot be read.
        ValueError: It is no image file, or declares a size that its bytes can hardly hold.
    """
    data = _read_bytes(path)
    return data, _open_header(io.BytesIO(data), len(data), path)


def stored_size(path: Path) -> tuple[int, int]:
    """Height and width of an image as it is stored, from its header alone; raises as :func:`open_image` does."""
    num_bytes = _checked_size(path)
    try:
        with path.open("rb") as file:
            header = _open_header(file, num_bytes, path)
            is_turned = header.format == "TIFF" and orientation_of(header, b"") >= 5  # Pillow gives its size upright
            width, height = header.size
            return (width, height) if is_turned else (height, width)
    except OSError as error:
        raise _unreadable(path, error) from None


def _open_header(file: io.BytesIO | io.BufferedReader, num_bytes: int, path: Path) -> Image.Image:
    try:
        image = Image.open(file, formats=_FORMATS)
    except Image.DecompressionBombError:
        raise ValueError(f"{path}: expected at most {MAX_PIXELS:,} pixels, got a header that declares more") from None
    except Exception:  # a damaged header makes Pillow raise errors of many kinds
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
    """Files of a folder whose names end like an image, by name.

    Hidden files are passed over, such as the ``._*`` that macOS puts beside each file, and there are none in a folder
    that does not exist.

    Raises:
        OSError: The folder cannot be read.
    """
    try:
        files = sorted(folder.iterdir()) if folder.is_dir() else []
        images = (path for path in files if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith("."))
        return [path for path in images if not path.is_dir()]
    except OSError as error:
        raise OSError(f"{folder}: cannot be read ({error.strerror}); look at its permissions") from None


def by_key(paths: Iterable[Path], key: Callable[[Path], _Key]) -> dict[_Key, Path]:
    """Files by what their names say; raises ``ValueError`` where two say the same."""
    files: dict[_Key, Path] = {}
    for path in paths:
        if (other := files.setdefault(key(path), path)) is not path:
            raise ValueError(f"expected one file for each frame, got {other} and {path}; remove or rename one of them")
    return files


def undecodable(path: Path) -> ValueError:
    """The error about a file whose pixels cannot be read."""
    return ValueError(
        f"{path}: cannot be decoded, it is cut short, damaged or no image; copy or download it again, or save it as PNG"
    )


def load(data: bytes, header: Image.Image, path: Path, mode: str | None = None) -> np.ndarray:
    """Decode by Pillow, which keeps the indices of palettes; raises ``ValueError`` if the pixels are damaged.

    Args:
        data: The bytes of the file.
        header: What :func:`open_image` made of them.
        path: The file, for the error.
        mode: One of Pillow's, such as ``RGB``; as the file has it if ``None``.
    """
    try:
        Image.open(io.BytesIO(data), formats=_FORMATS).verify()  # the checksums of a PNG, which loading skips
        header.load()
        return np.asarray(header if mode is None else header.convert(mode))
    except Exception:  # Pillow raises errors of many kinds
        raise undecodable(path) from None


def largest_value(image: Image.Image) -> int:
    """What a file stores white as: 1 for one bit, 15 for four, 65535 for 16 bits and more."""
    if image.mode == "1":
        return 1
    codec, arguments = _coding(image)
    if codec.startswith("ppm"):
        return arguments[1]
    if image.mode.startswith(("I", "F")) or (";16" in arguments[0] and image.format != "BMP"):  # of BMP: 5, 6, 5 bits
        return 65535
    return {"L;2": 3, "L;4": 15}.get(arguments[0].removesuffix("R"), 255)  # R: a TIFF whose bits run from the right


def is_inverted(image: Image.Image) -> bool:
    """Whether a file stores white as 0, so that what is stored and what is seen differ."""
    return "I" in _coding(image)[1][0].partition(";")[2]


def orientation_of(image: Image.Image, data: bytes) -> int:
    """EXIF orientation of a file, 1 to 8; 1 where there is none, or none that makes sense."""
    if image.format == "PNG" and b"eXIf" not in data:  # Pillow would decode the image to look behind it
        return 1
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # of damaged metadata, on which no pixel depends
        return 1
    return orientation if orientation in range(1, 9) else 1


def turned(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Stored pixels turned and mirrored as viewers do for an EXIF orientation."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    rows = slice(None, None, -1 if orientation in (3, 4, 7, 8) else 1)
    columns = slice(None, None, -1 if orientation in (2, 3, 6, 7) else 1)
    return np.ascontiguousarray(pixels[rows, columns])


def as_stored(pixels: np.ndarray, image_format: str | None, orientation: int) -> np.ndarray:
    """Decoded pixels as the file stores them: decoders of TIFF turn by its orientation, whatever they are told."""
    if image_format != "TIFF":
        return pixels
    return turned(pixels, _INVERSE_ORIENTATION.get(orientation, orientation))


def _coding(image: Image.Image) -> tuple[str, tuple[Any, ...]]:
    """Name of Pillow's decoder and its arguments; the first is how pixels are stored, such as ``L;4`` for 4 bits."""
    tile = next(iter(getattr(image, "tile", ())), None)
    if tile is None:
        return "", (image.mode,)
    arguments = tile.args if isinstance(tile.args, tuple) else (tile.args,)
    return tile.codec_name, arguments if arguments and isinstance(arguments[0], str) else (image.mode,)


def _read_bytes(path: Path) -> bytes:
    num_bytes = _checked_size(path)
    try:
        with path.open("rb") as file:
            return file.read(num_bytes)
    except OSError as error:
        raise _unreadable(path, error) from None


def _checked_size(path: Path) -> int:
    """How many bytes a file has; raises unless it is a file that can be read to its end."""
    try:
        status = path.stat()
    except OSError as error:
        raise _unreadable(path, error) from None
    if not stat.S_ISREG(status.st_mode):  # reading a pipe may wait for ever, and a device may never end
        kind = "a folder" if stat.S_ISDIR(status.st_mode) else "a pipe, a socket or a device"
        raise ValueError(f"{path}: expected an image file, got {kind}")
    if status.st_size > _MAX_BYTES:
        raise ValueError(f"{path}: expected an image of at most {_MAX_BYTES:,} bytes, got {status.st_size:,}")
    if status.st_size == 0:
        raise ValueError(f"{path}: the file is empty; copy or download it again")
    return status.st_size


def _unreadable(path: Path, error: OSError) -> OSError:
    if isinstance(error, FileNotFoundError):
        return FileNotFoundError(f"{path}: no such file; was it moved or deleted after setup?")
    return OSError(f"{path}: cannot be read ({error.strerror}); look at its permissions, links and disk")
