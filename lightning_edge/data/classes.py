"""Checks that the class settings of a data module are consistent."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from lightning_edge.contracts import IGNORE_INDEX
from lightning_edge.data.images.files import classes_of
from lightning_edge.ops.names import key_of


def check_class_names(num_classes: int, class_names: Sequence[str] | None, palette: Sequence[Any] | None) -> None:
    """Raise a ``ValueError`` unless each class has one name and one color, and no two names share a log key.

    Args:
        num_classes: Number of classes.
        class_names: Names under which scores are logged; not checked if ``None``.
        palette: Color of each class in pictures; not checked if ``None``.
    """
    for name, values in (("class_names", class_names), ("palette", palette)):
        if values is not None and len(values) != num_classes:
            raise ValueError(
                f"expected {name} with one entry for each class ({num_classes} by num_classes), got {len(values)}: "
                f"{tuple(values)}"
            )
    names: dict[str, str] = {}
    for name in class_names or ():
        key = key_of(name) or name  # a name without Latin letters and digits is its own key
        if key in names:
            raise ValueError(
                f"expected class_names that are logged under different keys, got {names[key]!r} and {name!r}, both "
                f"{key!r}: one score would overwrite the other"
            )
        names[key] = name


def check_label_table(label_table: Any, num_classes: int) -> None:
    """Raise a ``ValueError`` unless a table has only classes below ``num_classes``, and 255 for ignored pixels."""
    if not isinstance(label_table, np.ndarray) or label_table.shape != (256,) or label_table.dtype != np.uint8:
        raise ValueError(
            "expected label_table as lightning_edge.data.label_table({id in the mask: class}) makes it, got "
            f"{type(label_table).__name__}"
        )
    classes = [label for label in classes_of(label_table) if label != IGNORE_INDEX]
    if beyond := [label for label in classes if label >= num_classes]:
        raise ValueError(
            f"expected a label_table of classes 0..{num_classes - 1}, because num_classes is {num_classes}, and "
            f"{IGNORE_INDEX} for ignored pixels, got {beyond}"
        )
