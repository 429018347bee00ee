"""The command that counts the images of each domain."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from lightning_edge.contracts import LabeledSplit


def domains(datamodule: Any) -> dict[str, float]:
    """Print the number of images of each domain; only the number of domains if each image is one.

    Args:
        datamodule: The data.
    """
    counts = {split: count_images(datamodule, split) for split in ("train", "val")}
    if datamodule.domain_names is None:
        Console().print(
            f"Each image is a domain of its own: {len(counts['train'])} in train and {len(counts['val'])} in val."
        )
        return {split: float(len(of_split)) for split, of_split in counts.items()}
    table = Table(title="Images of each domain", box=box.SIMPLE, padding=0)
    table.add_column("domain")
    for split in counts:
        table.add_column(split, justify="right")
    names = list(dict.fromkeys(name for of_split in counts.values() for name in of_split))
    for name in names:
        table.add_row(name, *(str(of_split.get(name, 0)) for of_split in counts.values()))
    Console().print(table)
    return {name: float(counts["train"].get(name, 0)) for name in names}


def count_images(datamodule: Any, split: LabeledSplit) -> Mapping[str, int]:
    """Number of images of each domain, in the order of the domains. Domains without images are left out."""
    datamodule.prepare_data()
    assignment = datamodule.partition.assign(split, datamodule.records(split), datamodule.vocabulary)
    counts = np.bincount(assignment.domain, minlength=len(assignment.domain_names))
    return {name: int(count) for name, count in zip(assignment.domain_names, counts, strict=True) if count}
