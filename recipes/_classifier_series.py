"""Fits of several classifiers under several seeds, set side by side: what a recipe's ``compare`` does."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from recipes._cli import run_config
from recipes._seeds import seed_plans


class Variant(NamedTuple):
    """A classifier of a comparison."""

    arguments: tuple[str, ...]
    """Of ``fit``, by which it differs from the others."""
    rival: str | None = None
    """Variant that it is set against, seed by seed."""


class Score(NamedTuple):
    """What one run came to, as it stands in ``comparison.csv``."""

    variant: str
    seed: str
    num_parameters: int
    flops: int
    """Of one image in the forward pass; a multiplication and an addition are two."""
    last: float
    """Accuracy after the last epoch, percent."""
    best: float
    """Accuracy after the best epoch, percent: too high for a net that was chosen by the same data."""


def compare_variants(
    recipe: str,
    variants: Mapping[str, Variant],
    names: Sequence[str],
    folder: Path,
    num_seeds: int,
    overrides: Sequence[str],
) -> dict[str, float]:
    """Fit variants of a classifier under several seeds, print their accuracies, and return the means, percent.

    All variants are fitted under one seed, then under the next. A stopped series goes on where it was, and one with
    more seeds or variants uses the runs that are there.

    Args:
        recipe: Name of the recipe that fits.
        variants: All there are, by name.
        names: Those that are compared.
        folder: Where the runs lie, one folder for each seed; ``comparison.csv`` has a row for each run.
        num_seeds: How many runs of each variant.
        overrides: Further arguments of ``fit`` for all runs.

    Raises:
        ValueError: There is no such variant, or no seed.
    """
    if unknown := [name for name in names if name not in variants]:
        raise ValueError(f"expected variants among {list(variants)}, got {unknown}")
    scores: dict[str, list[Score]] = {name: [] for name in names}
    for seed, plan in seed_plans(num_seeds, overrides).items():
        for name, found in scores.items():
            found.append(_fit(recipe, name, seed, [*plan, *variants[name].arguments], folder / seed / name))
            _write(scores, folder / "comparison.csv")
    rivals = {name: variants[name].rival for name in names}
    _print(scores, rivals)
    return {f"{name}_accuracy": sum(score.last for score in found) / num_seeds for name, found in scores.items()}


def _fit(recipe: str, name: str, seed: str, arguments: Sequence[str], folder: Path) -> Score:
    metrics = run_config(recipe, arguments, folder)
    with max(folder.rglob("metrics.csv"), key=lambda path: path.stat().st_mtime).open() as file:
        accuracies = [float(row["val/accuracy"]) for row in csv.DictReader(file) if row["val/accuracy"]]
    costs = int(metrics["val/num_parameters"]), int(metrics["val/flops_per_sample"])
    return Score(name, seed, *costs, 100 * accuracies[-1], 100 * max(accuracies))


def _write(scores: Mapping[str, Sequence[Score]], path: Path) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(Score._fields)
        writer.writerows(score for found in scores.values() for score in found)


def _print(scores: Mapping[str, Sequence[Score]], rivals: Mapping[str, str | None]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from lightning_edge.seeds import mean_with_interval

    num_seeds = max(map(len, scores.values()))
    table = Table(
        title=f"Accuracy %, mean of {num_seeds} seeds with 95 % interval",
        caption="last, min, max: after the last epoch. -rival: last, seed by seed. MFLOPs: multiply-add = 2",
        box=box.SIMPLE,
        padding=0,
    )
    table.add_column("variant", no_wrap=True)
    for heading in ("parameters", "MFLOPs", "last", "min", "max", "best", "-rival", "rival"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name, found in scores.items():
        last, rival = [score.last for score in found], rivals[name]
        against = [score.last for score in scores.get(rival or "", [])]
        table.add_row(
            name,
            f"{found[0].num_parameters:,}",
            f"{found[0].flops / 1e6:.1f}",
            mean_with_interval(last),
            f"{min(last):.1f}",
            f"{max(last):.1f}",
            mean_with_interval([score.best for score in found]),
            mean_with_interval([one - other for one, other in zip(last, against, strict=bool(against))]),
            rival if against else "",
        )
    Console().print(table)
