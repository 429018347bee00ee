"""The file with the plan of a sweep, so that another call continues or extends it."""

import json
from dataclasses import asdict, fields, replace
from pathlib import Path

from lightning_edge.analysis.scaling_run import LossSplit
from lightning_edge.atomic_files import replace_file
from lightning_edge.json_files import read_record
from recipes.batch_size_scaling._plan import Sweep

PLAN = "sweep.json"
_MAY_GROW = {"sizes", "lr_rules", "tuned_lrs", "num_seeds", "fractions"}
"""Options that may differ in another sweep of the same folder. Runs that both sweeps share are reused."""


def write_plan(sweep: Sweep, folder: Path) -> None:
    """Write the plan of a sweep into its folder, together with the plans of earlier sweeps in that folder.

    Raises:
        ValueError: The folder has a sweep with other options.
    """
    path = folder / PLAN
    if path.exists() and any(folder.rglob("run.json")):  # a sweep without runs is replaced
        earlier = read_plan(folder)
        for name in (field.name for field in fields(Sweep) if field.name not in _MAY_GROW):
            value, earlier_value = getattr(sweep, name), getattr(earlier, name)
            if value != earlier_value:
                hint = "; `analyze --target=...` evaluates its runs at other targets" if name == "target" else ""
                raise ValueError(
                    f"expected {folder} to be empty or to have a sweep with {name} {value!r}, got one with "
                    f"{earlier_value!r}: choose another folder, or delete that one{hint}"
                )
        sweep = _union(earlier, sweep)
    folder.mkdir(parents=True, exist_ok=True)
    replace_file(path, json.dumps(asdict(sweep), indent=2).encode())


def _union(first: Sweep, second: Sweep) -> Sweep:
    """A sweep that includes the grids of both."""
    lists = {
        name: tuple(dict.fromkeys([*getattr(first, name), *getattr(second, name)]))
        for name in ("sizes", "lr_rules", "tuned_lrs", "fractions")
    }
    return replace(second, num_seeds=max(first.num_seeds, second.num_seeds), **lists)


def read_plan(folder: Path) -> Sweep:
    """Read what :func:`write_plan` wrote.

    Raises:
        FileNotFoundError: The folder has no sweep.
        ValueError: The plan is truncated or of another version.
    """
    path = folder / PLAN
    if not path.is_file():
        raise FileNotFoundError(f"expected folder to have a sweep with the file {PLAN}, got {folder}")
    try:
        return read_record(path, Sweep, LossSplit=LossSplit)
    except ValueError as error:
        raise ValueError(f"expected {path} as `sweep` writes it, got {error}") from error
