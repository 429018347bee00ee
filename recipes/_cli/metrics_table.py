"""What a resumed run had logged: the rows of its ``metrics.csv``, without those that a full disk has damaged."""

import csv
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.utilities import rank_zero_warn

_NAME = "metrics.csv"
_ASIDE = "metrics.csv.earlier"
_MAX_DIGITS = 18


def rows_before(folder: Path, num_steps: int | None) -> list[dict[str, str]]:
    """Rows that a run logged in its first steps, without empty cells.

    Args:
        folder: Of the run.
        num_steps: Steps of its checkpoint; ``None`` keeps all rows.
    """
    table = folder / _ASIDE  # left by a process that was killed while it put the rows back
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
            f"{table} is damaged, as a full disk leaves it: {len(whole)} of its {len(rows)} rows can be read and are "
            "kept"
        )
    return [row for row in whole if num_steps is None or int(row["step"]) < num_steps]


def put_back(rows: list[dict[str, Any]], logger: CSVLogger) -> None:
    """Begin a logger's table with rows of before: Lightning's logger removes the table that it finds."""
    table = Path(logger.log_dir, _NAME)
    aside = table.with_name(_ASIDE)
    if table.is_file() and not aside.is_file():
        table.replace(aside)
    logger.experiment.metrics = rows  # pyright: ignore[reportAttributeAccessIssue]
    logger.save()
    aside.unlink(missing_ok=True)


def _row(names: list[str], line: bytes) -> dict[str, str] | None:
    """A row by column; ``None`` if it is damaged, as the last one is that has no line end."""
    cells = _cells(line)
    row = dict(zip(names, cells, strict=False))
    step = row.get("step", "")
    if not line.endswith(b"\n") or len(cells) != len(names) or not step.isdecimal() or len(step) > _MAX_DIGITS:
        return None
    return {name: value for name, value in row.items() if value}


def _cells(line: bytes) -> list[str]:
    """Cells of a line; none of one that is no text."""
    try:
        cells = next(csv.reader([line.decode()], strict=True), [])
    except (UnicodeDecodeError, csv.Error):
        return []
    return [] if any("\0" in cell for cell in cells) else cells
