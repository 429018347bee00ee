"""What a comparison of domain-aware nets found, as a table, a file and a picture."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Self

from rich import box
from rich.console import Console
from rich.table import Table

from lightning_edge.analysis.intervals import mean_with_interval
from recipes._experiments.figure import draw_comparison


class Scores(NamedTuple):
    """Scores of one run, percent."""

    overall: float | None
    """Of all images together; ``None`` where each domain has a net of its own."""
    mean: float
    """Over domains."""
    of_domains: Mapping[str, float]

    @classmethod
    def from_fractions(cls, overall: float | None, of_domains: Mapping[str, float]) -> Self:
        """Scores from values in [0, 1]."""
        percent = {name: 100 * value for name, value in of_domains.items()}
        return cls(None if overall is None else 100 * overall, sum(percent.values()) / len(percent), percent)


def write_report(found: Mapping[str, Sequence[Scores]], metric: str, folder: Path) -> None:
    """Write ``comparison.csv`` and ``comparison.png`` of what there is."""
    found = {name: scores for name, scores in found.items() if scores}
    _write(found, _domains(found), folder / "comparison.csv")
    _draw(found, metric, folder / "comparison.png")


def _write(found: Mapping[str, Sequence[Scores]], domains: Sequence[str], path: Path) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["variant", "seed", "overall", "mean", *domains])
        for name, scores in found.items():
            for seed, score in enumerate(scores):
                writer.writerow([name, seed, score.overall, score.mean, *(score.of_domains[key] for key in domains)])


def _draw(found: Mapping[str, Sequence[Scores]], metric: str, path: Path) -> None:

    means = {name: [score.mean for score in scores] for name, scores in found.items()}
    draw_comparison(means, f"{metric}, mean over domains").savefig(path, dpi=120)


def print_report(found: Mapping[str, Sequence[Scores]], metric: str) -> None:
    """Print a row for each variant."""
    domains, num_seeds = _domains(found), max(map(len, found.values()))
    static = [score.mean for score in found.get("static", [])]
    table = Table(
        title=f"{metric} %, " + (f"mean of {num_seeds} seeds with 95 % interval" if num_seeds > 1 else "one seed"),
        caption="mean: over the domains beside it. -static: of that, seed by seed. all: of all images together",
        box=box.SIMPLE,
        padding=0,
    )
    table.add_column("variant", no_wrap=True)
    for heading in ("all", "mean", "-static", *(key.replace("_", "\n") for key in domains)):
        table.add_column(heading, justify="right")
    for name, scores in found.items():
        overall = [score.overall for score in scores if score.overall is not None]
        means = [score.mean for score in scores]
        differences = [mean - other for mean, other in zip(means, static, strict=False)]
        of_domains = [sum(score.of_domains[key] for score in scores) / len(scores) for key in domains]
        cells = [mean_with_interval(values) for values in (overall, means, differences)]
        table.add_row(name, *cells, *(f"{value:.1f}" for value in of_domains))
    Console().print(table)


def _domains(found: Mapping[str, Sequence[Scores]]) -> list[str]:
    return list(next(iter(found.values()))[0].of_domains)
