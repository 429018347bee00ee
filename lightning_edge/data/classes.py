"""Checks that the class settings of a data module are consistent."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from lightning_edge.contracts import IGNORE_INDEX
from lightning_edge.data.images.files import classes_of
from lightning_edge.ops.names import distinct_keys


def check_class_names(num_classes: int, class_names: Sequence[str] | None, palette: Sequence[Any] | None) -> None:
    """Raise a ``ValueError`` unless each class has one color and one name, under which its score can be logged.

    The rule for names is that of the methods (:func:`~lightning_edge.ops.names.distinct_keys`). It is
    checked here before any training.

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
    distinct_keys(class_names or (), "class")


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
