"""Reading of images and masks, with errors that name the file and the remedy.

Labels belong to the stored pixels. So images and masks are read as they are stored, and an EXIF orientation is ignored
in both. :class:`~lightning_edge.data.frames.FramesDataModule`, which has no labels, applies the orientation.
"""

import warnings
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8
from PIL import Image

from lightning_edge.data.images.headers import (
    as_stored,
    is_inverted,
    largest_value,
    load,
    open_image,
    orientation_of,
    turned,
    undecodable,
)
from lightning_edge.data.images.jpeg import decode, decode_jpeg, is_jpeg

RgbImage = UInt8[np.ndarray, "height width 3"]
IdMask = UInt8[np.ndarray, "height width"]
LabelTable = UInt8[np.ndarray, " 256"]

_UNKNOWN = 254
"""Entry of a label table for ids that are not allowed."""


def resized(image: RgbImage, size: tuple[int, int] | None) -> UInt8[np.ndarray, "new_height new_width 3"]:
    """An image of another size in pixels, whatever its proportions; as it is if ``size`` is ``None``."""
    if size is None:
        return image
    is_smaller = size[0] < image.shape[0]
    return cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA if is_smaller else cv2.INTER_LINEAR)


def read_image(path: Path, upright: bool = False) -> RgbImage:
    """Read a color image of 8 bits per channel.

    Args:
        path: Path of a PNG, JPEG, BMP, WebP, PPM or TIFF file.
        upright: Whether to apply the EXIF orientation, as viewers do. If ``False``, the image is read as it is stored,
            which is right for labels, and a warning is given once for each folder with such images.

    Raises:
        FileNotFoundError: The file does not exist.
        OSError: The file cannot be read.
        ValueError: The file is empty, truncated or not an image; it has more than 8 bits per channel; it declares more
            than 134 million pixels; or it declares more than 17 million pixels with less than one byte for each 10,000
            of them.
    """
    data, header = open_image(path)
    if (largest := largest_value(header)) > 255:
        raise ValueError(
            f"{path}: expected 8 bits per channel, got values up to {largest}; save it with 8 bits, scaled to the "
            "range that the camera uses, because the upper 8 bits alone can be nearly black"
        )
    orientation = orientation_of(header, data)
    flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
    if header.format == "PPM":  # OpenCV ignores the declared white value and does not read files in ASCII
        pixels = load(data, header, path, "RGB")
    else:
        pixels = decode_jpeg(data, flags) if is_jpeg(data) else decode(data, flags)
    if pixels is None:
        raise undecodable(path)
    stored = as_stored(pixels, header.format, orientation)
    if upright:
        return turned(stored, orientation)
    if orientation != 1:
        warnings.warn(
            f"{path.parent}: an image has an EXIF orientation, which is ignored. Labels must match the pixels as they "
            "are stored.",
            stacklevel=2,
        )
    return stored


def read_mask(path: Path, label_table: LabelTable) -> IdMask:
    """Read a mask with one label id for each pixel, and convert ids to classes.

    Ids are the stored values of 1, 2, 4, 8 or 16 bits, as gray values or as indices of a palette. A color image is
    accepted if its channels are equal. An EXIF orientation is ignored.

    Raises:
        FileNotFoundError: The file does not exist.
        OSError: The file cannot be read.
        ValueError: The file is damaged, has colors instead of ids, or contains an id that is not in the table.
    """
    ids = _read_ids(path)
    if ids.dtype != np.uint8:
        _refuse_ids(ids[(ids < 0) | (ids > 255)], label_table, path)
        ids = ids.astype(np.uint8)
    mask = label_table[ids]
    _refuse_ids(ids[mask == _UNKNOWN], label_table, path)
    return mask


def label_table(classes: dict[int, int]) -> LabelTable:
    """Lookup table from label ids to classes. All other ids raise an error in :func:`read_mask`.

    Raises:
        ValueError: An id or a class is not within 0..255, or a class is 254, which marks unknown ids.
    """
    table = np.full(256, _UNKNOWN, dtype=np.uint8)
    for label_id, label in classes.items():
        if not (0 <= label_id <= 255 and 0 <= label <= 255 and label != _UNKNOWN):
            raise ValueError(
                f"expected label ids within 0..255 and classes within 0..255 other than {_UNKNOWN}, got id {label_id} "
                f"for class {label}"
            )
        table[label_id] = label
    return table


def classes_of(table: LabelTable) -> list[int]:
    """Sorted classes of a label table, including that of ignored pixels."""
    return np.unique(table[table != _UNKNOWN]).tolist()


def check_same_size(
    image: UInt8[np.ndarray, "image_height image_width 3"],
    mask: UInt8[np.ndarray, "mask_height mask_width"],
    image_path: Path,
    mask_path: Path,
) -> None:
    """Raise a ``ValueError`` unless an image and its mask have the same height and width."""
    if image.shape[:2] == mask.shape:
        return
    is_transposed = image.shape[:2] == mask.shape[::-1]
    remedy = (
        "both are read as they are stored, without their EXIF orientation, so save them with the same orientation"
        if is_transposed
        else "resize them to one size, the mask by nearest-neighbor interpolation"
    )
    raise ValueError(
        f"expected an image and its mask of the same size, got {image.shape[:2]} in {image_path} and {mask.shape} "
        f"in {mask_path}; {remedy}"
    )


def _read_ids(path: Path) -> np.ndarray:
    """The stored values of a mask file. Decoders scale them so that white is 255, which is undone here."""
    data, header = open_image(path)
    largest, orientation = largest_value(header), orientation_of(header, data)
    is_wide = header.mode.startswith("I")
    if is_inverted(header) or (largest > 255 and not is_wide):
        kind = "a gray image that stores white as 0" if is_inverted(header) else f"{header.mode} of more than 8 bits"
        raise ValueError(
            f"{path}: expected a mask with a label id for each pixel, got {kind}; save it as 8-bit gray PNG"
        )
    if is_jpeg(data) and decode_jpeg(data, cv2.IMREAD_GRAYSCALE) is None:
        raise undecodable(path)
    values = _gray(load(data, header, path), header, path)
    white = 1 if header.mode == "1" else 65535 if is_wide else 255
    if largest != white:
        values = np.rint(values * (largest / white)).astype(np.int32)
    values = values.astype(np.uint8) if values.dtype == bool else values
    return as_stored(values, header.format, orientation)


def _gray(values: np.ndarray, header: Image.Image, path: Path) -> np.ndarray:
    """The single channel of a mask, without opacity. Raises a ``ValueError`` if there are colors."""
    if values.ndim == 2:
        return values
    colors = values[..., :1] if header.mode in ("LA", "PA") else values[..., :3]
    if (colors != colors[..., :1]).any():
        raise ValueError(
            f"{path}: expected a mask with one 8-bit label id for each pixel, got {values.dtype} {values.shape}; "
            "color images are only for display, use the files with ids"
        )
    return colors[..., 0]


def _refuse_ids(unknown: np.ndarray, table: LabelTable, path: Path) -> None:
    if unknown.size:
        known = np.flatnonzero(table != _UNKNOWN)
        raise ValueError(
            f"{path}: expected label ids among {_ranges(known)}, got {np.unique(unknown)[:5].tolist()}; "
            "does the mask belong to another data set or label set?"
        )


def _ranges(values: np.ndarray) -> str:
    runs = np.split(values, np.flatnonzero(np.diff(values) > 1) + 1)
    return ", ".join(f"{run[0]}..{run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs)
