"""Reading images and masks, with errors that name the file and the way out."""

import re
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".ppm", ".tif", ".tiff")

RgbImage = UInt8[np.ndarray, "height width 3"]
IdMask = UInt8[np.ndarray, "height width"]
LabelTable = UInt8[np.ndarray, " 256"]

_JPEG_MARKER = re.compile(rb"\xff([^\x00\xff\xd0-\xd7])", re.DOTALL)
"""Begin of a segment; zeros and restarts stand within the coded data."""

_UNKNOWN = 254
"""Entry of a label table for ids that must not occur."""


def read_image(path: Path) -> RgbImage:
    """Read a colour image.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is empty, cut short or no image.
    """
    return _decode(path, cv2.IMREAD_COLOR_RGB)


def read_mask(path: Path, label_table: LabelTable) -> IdMask:
    """Read a mask of one label id for each pixel and translate it.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is broken, has colours instead of ids, or holds an id that the table does not know.
    """
    ids = _decode(path, cv2.IMREAD_UNCHANGED)
    if ids.ndim != 2 or ids.dtype != np.uint8:
        raise ValueError(
            f"{path}: expected a mask with one 8-bit label id for each pixel, got {ids.dtype} {ids.shape}; "
            "files of colours are for the eye, take the ones of ids"
        )
    mask = label_table[ids]
    if (mask == _UNKNOWN).any():
        known = np.flatnonzero(label_table != _UNKNOWN)
        unknown = np.unique(ids[mask == _UNKNOWN])
        raise ValueError(
            f"{path}: expected label ids among {_ranges(known)}, got {unknown[:5].tolist()}; "
            "is this a mask of another data set or label set?"
        )
    return mask


def label_table(classes: dict[int, int]) -> LabelTable:
    """Lookup table from label ids to classes; all ids that are not named are errors in :func:`read_mask`."""
    table = np.full(256, _UNKNOWN, dtype=np.uint8)
    for label_id, label in classes.items():
        table[label_id] = label
    return table


def check_same_size(
    image: UInt8[np.ndarray, "image_height image_width 3"],
    mask: UInt8[np.ndarray, "mask_height mask_width"],
    image_path: Path,
    mask_path: Path,
) -> None:
    """Raise ``ValueError`` unless an image and its mask have the same height and width."""
    if image.shape[:2] != mask.shape:
        raise ValueError(
            f"expected an image and its mask of the same size, got {image.shape[:2]} in {image_path} and {mask.shape} "
            f"in {mask_path}; resize both, the mask with nearest neighbours"
        )


def _decode(path: Path, flags: int) -> np.ndarray:
    data = _read_bytes(path)
    if not data:
        raise ValueError(f"{path}: the file is empty; copy or download it again")
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    if pixels is None or _is_cut_jpeg(data):
        raise ValueError(f"{path}: cannot be decoded, it is cut short or no image; copy or download it again")
    return pixels


def _is_cut_jpeg(data: bytes) -> bool:
    """Whether these bytes are a JPEG without its end, the rest of which some versions of OpenCV fill with grey.

    Goes from segment to segment, for thumbnails hold markers of their own, and phones put a film behind the end.
    """
    if not data.startswith(b"\xff\xd8"):
        return False
    position = 2
    while (marker := _JPEG_MARKER.search(data, position)) and marker[1] != b"\xd9":
        position = marker.end() + int.from_bytes(data[marker.end() : marker.end() + 2], "big")
    return marker is None


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such file; was it moved or deleted after setup?") from None


def _ranges(values: np.ndarray) -> str:
    runs = np.split(values, np.flatnonzero(np.diff(values) > 1) + 1)
    return ", ".join(f"{run[0]}..{run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs)
