"""Accuracies of all methods on all pairs of domains, in tables that a later run of the command continues."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from lightning_edge.atomic_files import replace_table
from recipes.domain_adaptation._shallow_data import Pair


class Cell(NamedTuple):
    """One accuracy that a table needs."""

    method: str
    pair: Pair
    split: int


class Results:
    """Accuracies in percent, kept in a CSV file that is written after each one.

    A row counts only for the data and the settings that it was measured with.

    Args:
        path: The file. Rows of an earlier run are read from it.
        setting: Text that identifies settings which change the accuracies, such as the number of labeled images.
        digests: Text that identifies the data of each domain, by its initial.

    Raises:
        ValueError: The file exists, and is not a table of this command.
    """

    def __init__(self, path: Path, setting: str, digests: dict[str, str]) -> None:
        self.path = path
        self.setting = setting
        self.digests = digests
        self._accuracies = dict(_read(path))

    def __contains__(self, cell: Cell) -> bool:
        return self._row(cell) in self._accuracies

    def __getitem__(self, cell: Cell) -> float:
        return self._accuracies[self._row(cell)]

    def add(self, cell: Cell, accuracy: float) -> None:
        """Add an accuracy in percent, and write the file."""
        self._accuracies[self._row(cell)] = accuracy
        self.path.parent.mkdir(parents=True, exist_ok=True)
        rows = ((*row, repr(accuracy)) for row, accuracy in self._accuracies.items())
        replace_table(self.path, (*_Row._fields, "accuracy"), rows)

    def _row(self, cell: Cell) -> "_Row":
        data = f"{self.digests[cell.pair.source]}-{self.digests[cell.pair.target]}"
        return _Row(cell.method, *cell.pair, str(cell.split), self.setting, data)


class _Row(NamedTuple):
    method: str
    source: str
    target: str
    split: str
    setting: str
    data: str


def _read(path: Path) -> Iterator[tuple[_Row, float]]:
    if not path.is_file():
        return
    with path.open(newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file)
        if tuple(rows.fieldnames or ()) != (*_Row._fields, "accuracy"):
            raise ValueError(f"{path}: expected a table of this command, got other columns; choose another folder")
        for row in rows:
            yield _Row(*(row[field] for field in _Row._fields)), float(row["accuracy"])
