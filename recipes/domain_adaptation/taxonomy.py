"""The command that lists all methods of domain adaptation by their kind."""

import importlib
import inspect
from typing import NamedTuple

from rich import box
from rich.console import Console
from rich.table import Table


class Kind(NamedTuple):
    """A class of methods in the survey, and where its methods are."""

    name: str
    idea: str
    modules: tuple[str, ...]


KINDS = (
    Kind("sample re-weighting", "not deep: source samples that look like target samples count more", ("lightning_edge.shallow.reweighting",)),
)
