"""The ``compare`` command of classification recipes: several classifiers, each trained with several seeds."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from rich import box
from rich.console import Console
from rich.table import Table

from lightning_edge.analysis.intervals import mean_with_interval
from lightning_edge.atomic_files import replace_table
from recipes._experiments.figure import draw_comparison
from recipes._experiments.jobs import Backend
from recipes._experiments.study import Study, Variant


class Score(NamedTuple):
    """The result of one run, a row of ``comparison.csv``."""

    variant: str
    seed: str
    num_parameters: int
    flops: int
    """Operations for one image in the forward pass. A multiplication and an addition count as two."""
    last: float
    """Accuracy of the last validation, in percent."""
    best: float
    """Accuracy of the best validation, in percent. It is optimistic, because the same data select that epoch."""


def compare_classifiers(
    recipe: str,
    variants: Mapping[str, Variant],
    folder: Path,
    num_seeds: int,
    fit_arguments: Sequence[str],
    backend: Backend,
    baseline: str,
) -> dict[str, float]:
    """Train variants of a classifier with several seeds, print their accuracies, and return the means in percent.

    Args:
        recipe: Name of the recipe that trains.
        variants: The variants to compare, by name.
        folder: Folder of the runs. ``comparison.csv`` has a row for each run, and ``comparison.png`` shows them.
        num_seeds: Number of runs of each variant.
        fit_arguments: Arguments of all runs. They must not set options of the net, which belong to the variants.
        backend: ``process`` or ``ray``.
        baseline: How the caption of the table describes the baseline of a variant.

    Raises:
        ValueError: ``num_seeds`` is less than 1, or ``fit_arguments`` sets options of the net.
    """
    if conflicts := [argument for argument in fit_arguments if "model_options" in argument]:
        raise ValueError(f"expected fit_arguments without model_options, which the variants set, got {conflicts}")
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
        raise ValueError(
            f"expected runs with a validation and the callback LatencyMonitor, got {table}, which lacks their values"
        )
    num_parameters, flops = (int(float(rows[-1][f"val/{key}"])) for key in ("num_parameters", "flops_per_sample"))
    accuracies = [100 * float(row["val/accuracy"]) for row in rows]
    return Score(name, folder.parent.name, num_parameters, flops, accuracies[-1], max(accuracies))


def _write_and_draw(scores: Mapping[str, Sequence[Score]], folder: Path) -> None:
    rows = [score for of_variant in scores.values() for score in of_variant]
    replace_table(folder / "comparison.csv", Score._fields, rows)
    _draw(scores, folder / "comparison.png")


def _draw(scores: Mapping[str, Sequence[Score]], path: Path) -> None:
    accuracies = {
        f"{name}, {of_variant[0].num_parameters:,} parameters": [score.last for score in of_variant]
        for name, of_variant in scores.items()
        if of_variant
    }
    draw_comparison(accuracies).savefig(path, dpi=120)


def _print(scores: Mapping[str, Sequence[Score]], baselines: Mapping[str, str | None], baseline: str) -> None:
    num_seeds = max(map(len, scores.values()))
    table = Table(
        title="Accuracy %, " + (f"mean of {num_seeds} seeds with 95 % interval" if num_seeds > 1 else "one seed"),
        caption=f"last, min, max: accuracy of the last validation. -baseline: difference to {baseline} with the same "
        "seed. MFLOPs: a multiply-add counts as 2; Fourier transforms and shifts are not counted.",
        box=box.SIMPLE,
        padding=0,
    )
    table.add_column("variant", no_wrap=True)
    for heading in ("parameters", "MFLOPs", "last", "min", "max", "best", "-baseline"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name, of_variant in scores.items():
        last = [score.last for score in of_variant]
        against = [score.last for score in scores.get(baselines[name] or "", [])]
        table.add_row(
            name,
            f"{of_variant[0].num_parameters:,}",
            f"{of_variant[0].flops / 1e6:.1f}",
            mean_with_interval(last),
            f"{min(last):.1f}",
            f"{max(last):.1f}",
            mean_with_interval([score.best for score in of_variant]),
            mean_with_interval([one - other for one, other in zip(last, against, strict=bool(against))]),
        )
    Console().print(table)
