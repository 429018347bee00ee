"""Fits of several classifiers under several seeds, set side by side: what a recipe's ``compare`` does."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from rich import box
from rich.console import Console
from rich.table import Table

from lightning_edge.analysis.intervals import mean_with_interval
from recipes._experiments.figure import draw_comparison
from recipes._experiments.jobs import Backend
from recipes._experiments.study import Study, Variant


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


def compare_classifiers(
    recipe: str,
    variants: Mapping[str, Variant],
    folder: Path,
    num_seeds: int,
    fit_arguments: Sequence[str],
    backend: Backend,
    baseline: str,
) -> dict[str, float]:
    """Fit variants of a classifier under several seeds, print their accuracies, and return the means, percent.

    Args:
        recipe: Name of the recipe that fits.
        variants: Those that are compared, by name.
        folder: Where the runs lie; ``comparison.csv`` has a row for each run, ``comparison.png`` shows them.
        num_seeds: How many runs of each variant.
        fit_arguments: Arguments of all runs; the options of the net are the variants' own.
        backend: ``process`` or ``ray``.
        baseline: What the variants' baselines are called in the table.

    Raises:
        ValueError: There is no seed, or ``fit_arguments`` has options of the net.
    """
    if taken := [argument for argument in fit_arguments if "model_options" in argument]:
        raise ValueError(f"expected arguments that leave model_options to the variants, got {taken}")
    study = Study(recipe, variants, folder, num_seeds, fit_arguments, backend)
    study.run(after_each=lambda: _write_and_draw(_scores(study), folder))
    scores = _scores(study)
    _write_and_draw(scores, folder)
    _print(scores, {name: variant.baseline for name, variant in variants.items()}, baseline)
    return {
        f"{name}_accuracy": sum(score.last for score in of_variant) / num_seeds for name, of_variant in scores.items()
    }


def _scores(study: Study) -> dict[str, list[Score]]:
    return {name: [_score(name, folder) for folder in study.finished_folders(name)] for name in study.variants}


def _score(name: str, folder: Path) -> Score:
    table = max(folder.rglob("metrics.csv"), key=lambda path: path.stat().st_mtime)
    with table.open() as file:
        rows = [row for row in csv.DictReader(file) if row.get("val/accuracy")]
    if not rows or not rows[-1].get("val/num_parameters"):
        raise ValueError(f"expected runs with a validation and with LatencyMonitor, got {table} without")
    num_parameters, flops = (int(float(rows[-1][f"val/{key}"])) for key in ("num_parameters", "flops_per_sample"))
    accuracies = [100 * float(row["val/accuracy"]) for row in rows]
    return Score(name, folder.parent.name, num_parameters, flops, accuracies[-1], max(accuracies))


def _write_and_draw(scores: Mapping[str, Sequence[Score]], folder: Path) -> None:
    _write(scores, folder / "comparison.csv")
    _draw(scores, folder / "comparison.png")


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


def _print(scores: Mapping[str, Sequence[Score]], baselines: Mapping[str, str | None], baseline: str) -> None:

    num_seeds = max(map(len, scores.values()))
    table = Table(
        title="Accuracy %, " + (f"mean of {num_seeds} seeds with 95 % interval" if num_seeds > 1 else "one seed"),
        caption=f"last, min, max: the last validation. -baseline: minus {baseline}, seed by seed. MFLOPs: multiply-add "
        "= 2; Fourier transforms and shifts are not counted",
        box=box.SIMPLE,
        padding=0,
    )
    table.add_column("variant", no_wrap=True)
    for heading in ("parameters", "MFLOPs", "last", "min", "max", "best", "-baseline"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name, found in scores.items():
        last = [score.last for score in found]
        against = [score.last for score in scores.get(baselines[name] or "", [])]
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
