"""What adaptation gains for each class: a table of all runs, and a figure of the means."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from lightning_edge.atomic_files import replace_table

_BASELINE = "source_only"
_MAX_WRITTEN_CLASSES = 25
"""Numbers would be too small to read with more classes."""


class ClassScore(NamedTuple):
    """A row of ``classes.csv``: one class in one run, on the test data of the target."""

    variant: str
    seed: int
    class_name: str
    score: float
    """Score in percent."""
    gain: float | None
    """Difference to ``source_only`` with the same seed, in percentage points; ``None`` without such a run."""


def class_scores(tests: Mapping[str, Sequence[Mapping[str, float]]], metric: str) -> list[ClassScore]:
    """Scores of all classes in all runs.

    Args:
        tests: Metrics of the test of each seed, by variant.
        metric: First part of the keys of the classes, such as ``iou`` for ``test_target/iou_car``.
    """
    start = f"test_target/{metric}_"
    baselines = tests.get(_BASELINE, [])
    rows = []
    for name, runs in tests.items():
        for seed, run in enumerate(runs):
            baseline = baselines[seed] if seed < len(baselines) else {}
            rows += [
                ClassScore(name, seed, key.removeprefix(start), 100 * value, _gain(value, baseline.get(key)))
                for key, value in run.items()
                if key.startswith(start)
            ]
    return rows


def write_class_gains(rows: Sequence[ClassScore], metric: str, folder: Path) -> None:
    """Write ``classes.csv``, and ``classes.png`` if there are gains."""
    replace_table(folder / "classes.csv", ClassScore._fields, rows)
    variants = _distinct(row.variant for row in rows if row.gain is not None and row.variant != _BASELINE)
    if not variants:
        return
    classes = _distinct(row.class_name for row in rows)
    of_cell = {(name, key): [row.gain for row in rows if (row.variant, row.class_name) == (name, key)]
               for name in variants for key in classes}  # fmt: skip
    gains = np.array([[_mean(of_cell[name, key]) for key in classes] for name in variants])
    draw_gains(gains, variants, classes, metric).savefig(folder / "classes.png", dpi=120)


def draw_gains(
    gains: Float[np.ndarray, "variants classes"], variants: Sequence[str], classes: Sequence[str], metric: str
) -> Figure:
    """Draw gains in percentage points as colors: blue is a gain, red a loss, white neither. Gray is unknown."""
    largest = max(1.0, float(np.nanmax(np.abs(gains), initial=0)))
    figure = Figure(figsize=(max(5.0, 2.8 + 0.5 * len(classes)), 1.7 + 0.32 * len(variants)), layout="constrained")
    axes = figure.add_subplot()
    axes.set_facecolor("lightgray")
    picture = axes.imshow(gains, cmap="RdBu", vmin=-largest, vmax=largest, aspect="auto")
    axes.set_xticks(range(len(classes)), classes, rotation=45, ha="right", rotation_mode="anchor", fontsize=8)
    axes.set_yticks(range(len(variants)), variants, fontsize=8)
    for row, column in np.argwhere(np.isfinite(gains)) if len(classes) <= _MAX_WRITTEN_CLASSES else ():
        gain = gains[row, column]
        color = "white" if abs(gain) > 0.6 * largest else "black"
        axes.text(column, row, f"{round(float(gain)):+d}", ha="center", va="center", fontsize=7, color=color)
    axes.set_title(f"{metric} minus that of {_BASELINE}, percentage points", fontsize=9)
    figure.colorbar(picture)
    return figure


def _gain(value: float, baseline: float | None) -> float | None:
    return None if baseline is None else 100 * (value - baseline)


def _mean(gains: Iterable[float | None]) -> float:
    known = [gain for gain in gains if gain is not None]
    return float(np.mean(known)) if known else np.nan


def _distinct(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))
