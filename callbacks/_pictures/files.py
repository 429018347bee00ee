"""Pixels, names and colors of classes, and files for callbacks that draw."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from torch import Tensor

from lightning_edge.ops.drawing import Palette, default_palette


def pixels_of(image: Float[Tensor, "channels height width"]) -> UInt8[np.ndarray, "height width 3"]:
    """RGB values of an image in [0, 1] on any device.

    An image with one channel is gray. Of two channels, the first is shown in gray. Of more than three, the first three
    are shown.
    """
    shown = image[:3] if len(image) >= 3 else image[:1].expand(3, -1, -1)
    return (255 * shown.float()).round().clamp(0, 255).byte().permute(1, 2, 0).cpu().numpy()


def enlargement(image: UInt8[np.ndarray, "height width 3"], least_px: int) -> int:
    """Smallest whole factor that makes the longer side of an image at least ``least_px``; 1 for a large image."""
    return math.ceil(least_px / max(image.shape[:2]))


def enlarge(image: UInt8[np.ndarray, "height width 3"], factor: int) -> UInt8[np.ndarray, "tall wide 3"]:
    """Repeat each pixel in both directions."""
    return image.repeat(factor, 0).repeat(factor, 1)


def write_picture(path: Path, picture: UInt8[np.ndarray, "height width *channels"]) -> None:
    """Write an RGB or gray picture in the format of the file's suffix, also if its name is not valid UTF-8.

    Raises:
        OSError: The file cannot be written; the error names it.
    """
    _, encoded = cv2.imencode(path.suffix, picture[..., ::-1] if picture.ndim == 3 else picture)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded.tobytes())
    except OSError as error:  # the error for a full disk does not name the file
        raise OSError(error.errno, error.strerror, str(path)) from None


def classes_of(owner: Any, num_classes: int) -> tuple[list[str], Palette]:
    """Names and colors of classes, from ``class_names`` and ``palette`` of a module or data module.

    If these are missing or too few, names are numbers and colors those of ``default_palette``.

    Args:
        owner: A module or a data module.
        num_classes: How many names and colors are needed at least; if ``owner`` has more names, all are returned.
    """
    known: Sequence[str] = getattr(owner, "class_names", None) or ()
    palette: Palette = getattr(owner, "palette", None) or ()
    num_classes = max(len(known), num_classes)
    names = [*known] if len(known) == num_classes else [f"class {index}" for index in range(num_classes)]
    return names, palette[:num_classes] if len(palette) >= num_classes else default_palette(num_classes)
