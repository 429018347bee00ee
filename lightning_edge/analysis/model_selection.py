"""Which epoch of a finished run each score without target labels selects, and how accurate the model is there."""

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich import box
from rich.table import Table

from lightning_edge.analysis.intervals import mean_with_interval
from lightning_edge.checks import check_names
from lightning_edge.metrics.adaptation.rank_correlation import rank_correlation

_CAPTION = (
    "selected: {metric} in the epoch with the highest score. last, best: in the last epoch, and in the best one, "
    "which only target labels reveal. rank: Spearman's correlation of score and {metric} over epochs"
)


class Selection(NamedTuple):
    """The epoch that one score selects in a run, with the accuracy on the target there and in other epochs."""

    score: str
    """Key of the score, such as ``val_target/neighborhood_density``."""
    epoch: int | None
    """Epoch with the highest score, the first one of equals, as ``ModelCheckpoint(mode="max")`` keeps it; ``None`` if
    no epoch has a score."""
    accuracy: float
    """Accuracy in this epoch; NaN if it was not measured there."""
    last_accuracy: float
    """Accuracy where it was measured last; NaN if it was never measured."""
    best_epoch: int | None
    """Epoch with the highest accuracy, the first one of equals; ``None`` if no epoch has an accuracy."""
    best_accuracy: float
    """The highest accuracy; NaN if no epoch has one."""
    rank_correlation: float
    """Spearman's rank correlation of score and accuracy over epochs; NaN if it is not defined."""
    num_evaluations: int
    """Number of evaluations with both a score and an accuracy that are not NaN."""


def selections(folder: Path, scores: Sequence[str], accuracy: str = "val_target/accuracy") -> list[Selection]:
    """Epochs that scores select in the newest ``metrics.csv`` below the folder of a run.

    Rows of the same step are one evaluation. Where a resumed run repeats a step, the later value counts. Empty cells
    and NaN are never selected.

    Args:
        folder: Folder of the run.
        scores: Keys of scores, of which a higher value is better.
        accuracy: Key of the accuracy on the target, such as ``val_target/miou``.

    Returns:
        One selection for each score.

    Raises:
        FileNotFoundError: There is no ``metrics.csv`` below the folder.
        ValueError: The table lacks a column, or a row is damaged.
    """
    check_names(scores=scores)
    tables = sorted(folder.rglob("metrics.csv"), key=lambda path: path.stat().st_mtime)
    if not tables:
        raise FileNotFoundError(f"expected the folder of a run that wrote metrics.csv, got {folder}")
    return select_epochs(_read_evaluations(tables[-1], (*scores, accuracy)), scores, accuracy)


def select_epochs(
    evaluations: Sequence[Mapping[str, float]], scores: Sequence[str], accuracy: str = "val_target/accuracy"
) -> list[Selection]:
    """Epochs that scores select among the evaluations of a run.

    Args:
        evaluations: The ``epoch`` of each evaluation, and the values of its scores and its accuracy by their keys. A
            value that is missing or NaN is never selected.
        scores: Keys of scores, of which a higher value is better.
        accuracy: Key of the accuracy on the target.

    Returns:
        One selection for each score.
    """
    return [_selection(evaluations, score, accuracy) for score in scores]


def selection_table(runs: Sequence[Sequence[Selection]], metric: str = "accuracy") -> Table:
    """Table of the selections in runs with different seeds, with one row for each score.

    Accuracies are means in percent, with Student's 95 % interval if there are several runs. If none was measured, the
    table has the epochs only.

    Args:
        runs: Result of :func:`selections` for each run.
        metric: Name of the accuracy in the title, such as ``miou``.

    Raises:
        ValueError: There are no runs, or they do not have the same scores in the same order.
    """
    names = {tuple(selection.score for selection in run) for run in runs}
    if len(names) != 1:
        raise ValueError(f"expected one run or more with the same scores, got {sorted(names)}")
    is_measured = any(not math.isnan(one.best_accuracy) for run in runs for one in run)
    title = f"{metric} % on the target, selected without its labels" if is_measured else "Epochs with the highest score"
    caption = _CAPTION.format(metric=metric) if is_measured else None
    table = Table(title=title, caption=caption, box=box.SIMPLE, padding=0)  # 80 columns
    table.add_column("score", no_wrap=True)
    for heading in ("epoch", "selected", "last", "best", "rank") if is_measured else ("epoch",):
        table.add_column(heading, justify="right", no_wrap=True)
    for of_score in zip(*runs, strict=True):
        epochs = ", ".join("-" if one.epoch is None else str(one.epoch) for one in of_score)
        if not is_measured:
            table.add_row(of_score[0].score, epochs)
            continue
        accuracies = [[one.accuracy, one.last_accuracy, one.best_accuracy] for one in of_score]
        correlation = float(np.mean([one.rank_correlation for one in of_score]))
        cells = map(mean_with_interval, 100 * np.array(accuracies).T)
        table.add_row(of_score[0].score, epochs, *cells, f"{correlation:.2f}")
    return table


def _read_evaluations(path: Path, keys: Sequence[str]) -> list[dict[str, float]]:
    """Values of the keys and the ``epoch`` at each step that has any of the keys, by ascending step."""
    by_step: dict[int, dict[str, float]] = {}
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        columns = reader.fieldnames or []
        for name in ("epoch", "step", *keys):
            if name not in columns:
                raise ValueError(f"expected a column {name} in {path}, got {', '.join(columns) or 'an empty file'}")
        for row in reader:
            try:
                values = {name: float(row[name]) for name in ("epoch", *keys) if row[name] != ""}
                by_step.setdefault(int(row["step"]), {}).update(values)
            except (TypeError, ValueError) as error:
                raise ValueError(f"expected numbers in line {reader.line_num} of {path}, got {row}") from error
    evaluations = [values for _, values in sorted(by_step.items()) if values.keys() & set(keys)]
    if any("epoch" not in values for values in evaluations):
        raise ValueError(f"expected an epoch in each evaluation of {path}, got one without")
    return evaluations


def _selection(evaluations: Sequence[Mapping[str, float]], score: str, accuracy: str) -> Selection:
    scores = [values.get(score, math.nan) for values in evaluations]
    accuracies = [values.get(accuracy, math.nan) for values in evaluations]
    selected, best = _first_highest(scores), _first_highest(accuracies)
    measured = [values[accuracy] for values in evaluations if accuracy in values]
    return Selection(
        score,
        None if selected is None else int(evaluations[selected]["epoch"]),
        math.nan if selected is None else accuracies[selected],
        measured[-1] if measured else math.nan,
        None if best is None else int(evaluations[best]["epoch"]),
        math.nan if best is None else accuracies[best],
        rank_correlation(scores, accuracies),
        sum(not math.isnan(one + other) for one, other in zip(scores, accuracies, strict=True)),
    )


def _first_highest(values: Sequence[float]) -> int | None:
    """Index of the highest value, the first of equals; ``None`` if all are NaN."""
    indices = [index for index, value in enumerate(values) if not math.isnan(value)]
    return max(indices, key=lambda index: values[index], default=None)
