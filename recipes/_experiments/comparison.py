"""Fits of several classifiers under several seeds, set side by side: what a recipe's ``compare`` does."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from rich import box
from rich.console import Console
from rich.table import Table

from lightning_edge.analysis.intervals import mean_with_interval
from recipes._cli.run_config import run_config
from recipes._experiments.figure import draw_comparison
from recipes._experiments.seeds import seed_plans


class Variant(NamedTuple):
    """A classifier of a comparison."""

    arguments: tuple[str, ...]
    """Of ``fit``, by which it differs from the others."""
    rival: str | None = None
    """Variant whose accuracy is subtracted from its own, seed by seed."""


class Score(NamedTuple):
    """What one run came to, as it stands in ``comparison.csv``."""

    variant: str
    seed: str
    num_parameters: int
    flops: int
    """Of one image in the forward pass; a multiplication and an addition are two."""
    last: float
    """Accuracy of the last validation, percent."""
    best: float
    """Accuracy of the best validation, percent: too high for a net that was chosen by the same data."""


def compare_variants(
    recipe: str,
    variants: Mapping[str, Variant],
    names: Sequence[str],
    folder: Path,
    num_seeds: int,
    overrides: Sequence[str],
    rival: str,
) -> dict[str, float]:
    """Fit variants of a classifier under several seeds, print their accuracies, and return the means, percent.

    All variants are fitted under one seed, then under the next. A stopped series goes on where it was, and one with
    more seeds or variants uses the runs that are there.

    Args:
        recipe: Name of the recipe that fits.
        variants: All there are, by name.
        names: Those that are compared.
        folder: Where the runs lie, one folder for each seed; ``comparison.csv`` has a row for each run of this call,
            ``comparison.png`` shows them.
        num_seeds: How many runs of each variant.
        overrides: Further arguments of ``fit`` for all runs; the options of the net are the variants' own.
        rival: What the rivals are called in the table.

    Raises:
        ValueError: There is no such variant, none at all, or no seed, or the overrides are of the net's options.
    """
    if not names:
        raise ValueError(f"expected variants among {list(variants)}, got none")
    if own := [argument for argument in overrides if "model_options" in argument]:
        raise ValueError(f"expected overrides that leave model_options to the variants, got {own}")
    if unknown := [name for name in names if name not in variants]:
        raise ValueError(f"expected variants among {list(variants)}, got {unknown}")
    scores: dict[str, list[Score]] = {name: [] for name in names}
    for seed, plan in seed_plans(num_seeds, overrides).items():
        for name, found in scores.items():
            found.append(_fit(recipe, name, seed, [*plan, *variants[name].arguments], folder / seed / name))
            _write(scores, folder / "comparison.csv")
            _draw(scores, folder / "comparison.png")
    _print(scores, {name: variants[name].rival for name in names}, rival)
    return {f"{name}_accuracy": sum(score.last for score in found) / num_seeds for name, found in scores.items()}


def _fit(recipe: str, name: str, seed: str, arguments: Sequence[str], folder: Path) -> Score:
    run_config(recipe, arguments, folder)
    table = max(folder.rglob("metrics.csv"), key=lambda path: path.stat().st_mtime)
    with table.open() as file:
        rows = [row for row in csv.DictReader(file) if row.get("val/accuracy")]
    if not rows or not rows[-1].get("val/num_parameters"):
        raise ValueError(f"expected runs with a validation and with LatencyMonitor, got {table} without")
    num_parameters, flops = (int(float(rows[-1][f"val/{key}"])) for key in ("num_parameters", "flops_per_sample"))
    accuracies = [100 * float(row["val/accuracy"]) for row in rows]
    return Score(name, seed, num_parameters, flops, accuracies[-1], max(accuracies))


def _write(scores: Mapping[str, Sequence[Score]], path: Path) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(Score._fields)
        writer.writerows(score for found in scores.values() for score in found)


def _draw(scores: Mapping[str, Sequence[Score]], path: Path) -> None:

    accuracies = {
        f"{name}, {found[0].num_parameters:,} parameters": [score.last for score in found]
        for name, found in scores.items()
        if found
    }
    draw_comparison(accuracies).savefig(path, dpi=120)


def _print(scores: Mapping[str, Sequence[Score]], rivals: Mapping[str, str | None], rival: str) -> None:

    num_seeds = max(map(len, scores.values()))
    table = Table(
        title="Accuracy %, " + (f"mean of {num_seeds} seeds with 95 % interval" if num_seeds > 1 else "one seed"),
        caption=f"last, min, max: the last validation. -rival: minus {rival}, seed by seed. MFLOPs: multiply-add = 2; "
        "Fourier transforms and shifts are not counted",
        box=box.SIMPLE,
        padding=0,
    )
    table.add_column("variant", no_wrap=True)
    for heading in ("parameters", "MFLOPs", "last", "min", "max", "best", "-rival"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name, found in scores.items():
        last = [score.last for score in found]
        against = [score.last for score in scores.get(rivals[name] or "", [])]
        table.add_row(
            name,
            f"{found[0].num_parameters:,}",
            f"{found[0].flops / 1e6:.1f}",
            mean_with_interval(last),
            f"{min(last):.1f}",
            f"{max(last):.1f}",
            mean_with_interval([score.best for score in found]),
            mean_with_interval([one - other for one, other in zip(last, against, strict=bool(against))]),
        )
    Console().print(table)
