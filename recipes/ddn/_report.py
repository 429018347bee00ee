"""Results of a comparison of domain-aware nets, as a table, a file and a figure."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Self

from rich import box
from rich.console import Console
from rich.table import Table

from lightning_edge.analysis.intervals import mean_with_interval
from lightning_edge.atomic_files import replace_table
from recipes._experiments.figure import draw_comparison


class Scores(NamedTuple):
    """Scores of one run, in percent."""

    overall: float | None
    """Score of all images together; ``None`` if each domain has its own net."""
    mean: float
    """Mean over the domains."""
    of_domains: Mapping[str, float]

    @classmethod
    def from_fractions(cls, overall: float | None, of_domains: Mapping[str, float]) -> Self:
        """Convert values in [0, 1] to percent."""
        percent = {name: 100 * value for name, value in of_domains.items()}
        return cls(None if overall is None else 100 * overall, sum(percent.values()) / len(percent), percent)


def write_report(results: Mapping[str, Sequence[Scores]], metric: str, folder: Path) -> None:
    """Write ``comparison.csv`` and ``comparison.png`` with the scores of all finished variants."""
    results = {name: scores for name, scores in results.items() if scores}
    _write(results, _domains(results), folder / "comparison.csv")
    _draw(results, metric, folder / "comparison.png")


def _write(results: Mapping[str, Sequence[Scores]], domains: Sequence[str], path: Path) -> None:
    rows = [
        [name, seed, score.overall, score.mean, *(score.of_domains[key] for key in domains)]
        for name, scores in results.items()
        for seed, score in enumerate(scores)
    ]
    replace_table(path, ["variant", "seed", "overall", "mean", *domains], rows)


def _draw(results: Mapping[str, Sequence[Scores]], metric: str, path: Path) -> None:
    means = {name: [score.mean for score in scores] for name, scores in results.items()}
    draw_comparison(means, f"{metric}, mean over domains").savefig(path, dpi=120)


def print_report(results: Mapping[str, Sequence[Scores]], metric: str) -> None:
    """Print a table with a row for each variant."""
    domains, num_seeds = _domains(results), max(map(len, results.values()))
    static = [score.mean for score in results.get("static", [])]
    table = Table(
        title=f"{metric} %, " + (f"mean of {num_seeds} seeds with 95 % interval" if num_seeds > 1 else "one seed"),
        caption="all: score of all images together. mean: mean over the domains on the right. -static: difference of "
        "that mean to static with the same seed.",
        box=box.SIMPLE,
        padding=0,
    )
    table.add_column("variant", no_wrap=True)
    for heading in ("all", "mean", "-static", *(key.replace("_", "\n") for key in domains)):
        table.add_column(heading, justify="right")
    for name, scores in results.items():
        overall = [score.overall for score in scores if score.overall is not None]
        means = [score.mean for score in scores]
        differences = [mean - other for mean, other in zip(means, static, strict=False)]
        of_domains = [sum(score.of_domains[key] for score in scores) / len(scores) for key in domains]
        cells = [mean_with_interval(values) for values in (overall, means, differences)]
        table.add_row(name, *cells, *(f"{value:.1f}" for value in of_domains))
    Console().print(table)


def _domains(results: Mapping[str, Sequence[Scores]]) -> list[str]:
    return list(next(iter(results.values()))[0].of_domains)
