"""From images in batches to files of pictures."""

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
    """An image in [0, 1], on any device, as RGB; gray if it has one channel or two, and the first three of more."""
    shown = image[:3] if len(image) >= 3 else image[:1].expand(3, -1, -1)
    return (255 * shown.float()).round().clamp(0, 255).byte().permute(1, 2, 0).cpu().numpy()


def enlargement(image: UInt8[np.ndarray, "height width 3"], least_px: int) -> int:
    """Whole factor by which the longer side of an image comes to ``least_px`` or more; 1 for a large one."""
    return math.ceil(least_px / max(image.shape[:2]))


def enlarge(image: UInt8[np.ndarray, "height width 3"], factor: int) -> UInt8[np.ndarray, "tall wide 3"]:
    """Each pixel as a square of pixels."""
    return image.repeat(factor, 0).repeat(factor, 1)


def write_picture(path: Path, picture: UInt8[np.ndarray, "height width *channels"]) -> None:
    """Write RGB or gray values in the format of the name's ending; the name may be of bytes that are no UTF-8.

    Raises:
        OSError: if the file cannot be written; it has the path.
    """
    _, encoded = cv2.imencode(path.suffix, picture[..., ::-1] if picture.ndim == 3 else picture)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded.tobytes())
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None  # a full disk does not say which file


def classes_of(owner: Any, num_classes: int) -> tuple[list[str], Palette]:
    """Names and colors of classes: ``class_names`` and ``palette`` of a module or data module where it has enough.

    Names and colors are as many as ``num_classes``, or as the names that are known where these are more.
    """
    known: Sequence[str] = getattr(owner, "class_names", None) or ()
    palette: Palette = getattr(owner, "palette", None) or ()
    num_classes = max(len(known), num_classes)
    names = [*known] if len(known) == num_classes else [f"class {index}" for index in range(num_classes)]
    return names, palette[:num_classes] if len(palette) >= num_classes else default_palette(num_classes)
