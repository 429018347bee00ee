"""Names in tables that people open in a spreadsheet."""

import csv
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

_FORMULA = re.compile(r"(^|[;\t\r\n])(?=[=+\-@\t\r\n＝＋－＠])")  # noqa: RUF001
"""Where a cell begins with a sign that makes it a formula, also where a spreadsheet takes a semicolon for a separator.

Source of the signs: OWASP, *CSV injection*.
"""


def as_text(name: str) -> str:
    """A name that a spreadsheet takes for text: one that begins like a formula has an apostrophe before it."""
    return _FORMULA.sub(r"\1'", name)


def append_rows(path: Path, rows: Iterable[Sequence[Any]]) -> None:
    r"""Append rows to a CSV in UTF-8, in which bytes of a file's name that are no UTF-8 are written as ``\udcff``."""
    with path.open("a", newline="", encoding="utf-8", errors="backslashreplace") as file:
        csv.writer(file).writerows(rows)
