"""The rows of ``metrics.csv`` that a resumed run keeps, without rows that a full disk has damaged."""

import csv
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.utilities import rank_zero_warn

_NAME = "metrics.csv"
_ASIDE = "metrics.csv.earlier"
_MAX_DIGITS = 18


def rows_before(folder: Path, num_steps: int | None) -> list[dict[str, str]]:
    """Rows that a run logged up to its checkpoint, without empty cells.

    Args:
        folder: The folder of the run.
        num_steps: Number of steps before the checkpoint; ``None`` keeps all rows.
    """
    table = folder / _ASIDE  # exists if a process was killed while it restored the rows
    if not table.is_file():
        table = folder / _NAME
    if not table.is_file():
        return []
    header, *lines = table.read_bytes().splitlines(keepends=True) or [b""]
    names = _cells(header)
    rows = [_row(names, line) for line in lines]
    whole = [row for row in rows if row is not None]
    if not names or len(whole) < len(rows):
        rank_zero_warn(
            f"{table} is damaged, possibly by a full disk. {len(whole)} of its {len(rows)} rows are readable and kept."
        )
    return [row for row in whole if num_steps is None or int(row["step"]) < num_steps]


def put_back(rows: list[dict[str, Any]], logger: CSVLogger) -> None:
    """Restore earlier rows in the table of a logger, because Lightning's logger removes an existing table."""
    table = Path(logger.log_dir, _NAME)
    aside = table.with_name(_ASIDE)
    if table.is_file() and not aside.is_file():
        table.replace(aside)
    logger.experiment.metrics = rows  # pyright: ignore[reportAttributeAccessIssue]
    logger.save()
    aside.unlink(missing_ok=True)


def _row(names: list[str], line: bytes) -> dict[str, str] | None:
    """A row as a dict by column; ``None`` if it is damaged, such as a last row without a line end."""
    cells = _cells(line)
    row = dict(zip(names, cells, strict=False))
    step = row.get("step", "")
    if not line.endswith(b"\n") or len(cells) != len(names) or not step.isdecimal() or len(step) > _MAX_DIGITS:
        return None
    return {name: value for name, value in row.items() if value}


def _cells(line: bytes) -> list[str]:
    """Cells of a line; an empty list if the line is not valid text."""
    try:
        cells = next(csv.reader([line.decode()], strict=True), [])
    except (UnicodeDecodeError, csv.Error):
        return []
    return [] if any("\0" in cell for cell in cells) else cells
