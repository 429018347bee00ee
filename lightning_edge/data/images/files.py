"""Reading images and masks, with errors that name the file and the way out.

Labels belong to the pixels that a file stores. So images and masks are read as they are stored, and an EXIF orientation
is ignored in both. :class:`~lightning_edge.data.frames.FramesDataModule`, which has no labels, turns frames upright.
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
"""Entry of a label table for ids that must not occur."""


def read_image(path: Path, upright: bool = False) -> RgbImage:
    """Read a color image of 8 bits per channel.

    Args:
        path: A PNG, JPEG, BMP, WebP, PPM or TIFF.
        upright: Turn it by its EXIF orientation, as viewers do. As it is stored if ``False``, which suits labels, with
            a warning for the first of a folder that has an orientation.

    Raises:
        FileNotFoundError: There is no such file.
        OSError: It cannot be read.
        ValueError: It is empty, cut short or no image, if it has more than 8 bits per channel, or if it declares more
            than 134 million pixels, or more than 17 million in a file of less than a byte for each 10,000.
    """
    data, header = open_image(path)
    if (largest := largest_value(header)) > 255:
        raise ValueError(
            f"{path}: expected 8 bits per channel, got values up to {largest}; save it with 8 bits, scaled to the "
            "range that the camera uses, for the upper 8 bits alone may be nearly black"
        )
    orientation = orientation_of(header, data)
    flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
    if header.format == "PPM":  # OpenCV takes white for 255, whatever the file says, and reads none written in digits
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
            f"{path.parent}: an image has an EXIF orientation, which is ignored: labels are expected in the pixels as "
            "they are stored",
            stacklevel=2,
        )
    return stored


def read_mask(path: Path, label_table: LabelTable) -> IdMask:
    """Read a mask of one label id for each pixel and translate it.

    Ids are the values that the file stores, of 1, 2, 4, 8 or 16 bits, gray or as indices of a palette. A file of colors
    is read where its channels are equal. An EXIF orientation is ignored.

    Raises:
        FileNotFoundError: There is no such file.
        OSError: It cannot be read.
        ValueError: It is broken, has colors instead of ids, or holds an id that the table does not know.
    """
    ids = _read_ids(path)
    if ids.dtype != np.uint8:
        _refuse_ids(ids[(ids < 0) | (ids > 255)], label_table, path)
        ids = ids.astype(np.uint8)
    mask = label_table[ids]
    _refuse_ids(ids[mask == _UNKNOWN], label_table, path)
    return mask


def label_table(classes: dict[int, int]) -> LabelTable:
    """Lookup table from label ids to classes; all ids that are not named are errors in :func:`read_mask`.

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
    """Classes that a label table gives, in order, with the one of ignored pixels."""
    return np.unique(table[table != _UNKNOWN]).tolist()


def check_same_size(
    image: UInt8[np.ndarray, "image_height image_width 3"],
    mask: UInt8[np.ndarray, "mask_height mask_width"],
    image_path: Path,
    mask_path: Path,
) -> None:
    """Raise ``ValueError`` unless an image and its mask have the same height and width."""
    if image.shape[:2] == mask.shape:
        return
    is_turned = image.shape[:2] == mask.shape[::-1]
    remedy = (
        "both are read as they are stored, whatever their EXIF orientation, so save them turned alike"
        if is_turned
        else "resize both, the mask with nearest neighbours"
    )
    raise ValueError(
        f"expected an image and its mask of the same size, got {image.shape[:2]} in {image_path} and {mask.shape} "
        f"in {mask_path}; {remedy}"
    )


def _read_ids(path: Path) -> np.ndarray:
    """The values that a mask file stores, undoing what decoders do to make white 255."""
    data, header = open_image(path)
    largest, orientation = largest_value(header), orientation_of(header, data)
    is_wide = header.mode.startswith("I")
    if is_inverted(header) or (largest > 255 and not is_wide):
        kind = "gray that stores white as 0" if is_inverted(header) else f"{header.mode} of more than 8 bits"
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
    """The one channel of a mask, without its opacity; ``ValueError`` if there are colors."""
    if values.ndim == 2:
        return values
    colors = values[..., :1] if header.mode in ("LA", "PA") else values[..., :3]
    if (colors != colors[..., :1]).any():
        raise ValueError(
            f"{path}: expected a mask with one 8-bit label id for each pixel, got {values.dtype} {values.shape}; "
            "files of colours are for the eye, take the ones of ids"
        )
    return colors[..., 0]


def _refuse_ids(unknown: np.ndarray, table: LabelTable, path: Path) -> None:
    if unknown.size:
        known = np.flatnonzero(table != _UNKNOWN)
        raise ValueError(
            f"{path}: expected label ids among {_ranges(known)}, got {np.unique(unknown)[:5].tolist()}; "
            "is this a mask of another data set or label set?"
        )


def _ranges(values: np.ndarray) -> str:
    runs = np.split(values, np.flatnonzero(np.diff(values) > 1) + 1)
    return ", ".join(f"{run[0]}..{run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs)
