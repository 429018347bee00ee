"""Names in tables that people open in a spreadsheet."""

import csv
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

_FORMULA = re.compile(r"(^|[;\t\r\n])(?=[=+\-@\t\r\n＝＋－＠])")  # noqa: RUF001
"""The start of a cell that a spreadsheet would run as a formula.

A semicolon starts a cell too: spreadsheets use it as separator where the decimal point is a comma. The signs are those
of OWASP's page *CSV Injection*.
"""


def as_text(name: str) -> str:
    """Put an apostrophe in front of a name that a spreadsheet would run as a formula; leave other names unchanged."""
    return _FORMULA.sub(r"\1'", name)


def append_rows(path: Path, rows: Iterable[Sequence[Any]]) -> None:
    r"""Append rows to a CSV file in UTF-8.

    File names on Linux can hold any bytes. A byte that is not valid UTF-8 is written as an escape, such as ``\udcff``.
    """
    with path.open("a", newline="", encoding="utf-8", errors="backslashreplace") as file:
        csv.writer(file).writerows(rows)
