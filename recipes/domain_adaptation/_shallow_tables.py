"""The tables of the command, and the figures that they are compared with."""

from collections.abc import Sequence
from statistics import fmean

from rich import box
from rich.console import Console
from rich.table import Table

from lightning_edge.analysis.intervals import mean_with_interval
from recipes.domain_adaptation._shallow_data import Pair
from recipes.domain_adaptation._shallow_results import Cell, Results

PUBLISHED = {
    "NA": 31.4, "PCA": 43.6, "GFK": 43.1, "TCA": 46.2, "JDA": 46.8, "NA-SVM": 41.1, "CORAL-SVM": 48.8,
    "NA-RBF": 37.8, "SA-LINEAR": 45.9, "CORAL-LINEAR": 46.7,
}  # fmt: skip
"""Means over twelve pairs with SURF features. The full source: collected in the repository
https://github.com/jindongwang/transferlearning (data/benchmark.md). The splits: Sun, Feng and Saenko, arXiv:1511.05547,
Table 1, whose NA has the Gaussian kernel in the authors' code."""

REMEASURED = {
    "NA": 31.4, "PCA": 44.1, "SA": 45.4, "GFK": 44.7, "TCA": 46.1, "JDA": 46.9, "CORAL": 35.7, "NA-SVM": 45.7,
    "CORAL-SVM": 46.6, "KMM-SVM": 45.6, "NA-RBF": 38.8, "NA-LINEAR": 44.1, "SA-LINEAR": 42.8, "CORAL-LINEAR": 46.7,
}  # fmt: skip
"""Means over twelve pairs that another implementation of the same settings reached on the same SURF features."""


NOTE = (
    "NA: no adaptation. -SVM, -RBF, -LINEAR: support vector machines with C from two-fold cross-validation on the "
    "source; all others take the nearest neighbor. Most of the published gain of CORAL over NA, on the real SURF "
    "features, is that of a linear over a Gaussian kernel (NA-LINEAR over NA-RBF), and not of the adaptation."
)
REFERENCES_NOTE = (
    "published: means in the literature. measured again: means of another implementation on the same features."
)


def print_table(
    title: str, results: Results, methods: Sequence[str], pairs: Sequence[Pair], num_splits: int, with_references: bool
) -> None:
    """A row for each pair, and their mean: the accuracy of each method, with its interval if there are several splits.

    Args:
        title: First line of the table.
        results: The accuracies.
        methods: The columns.
        pairs: The rows.
        num_splits: Number of splits to average over.
        with_references: Whether to add rows with the known means, which are those of all pairs.
    """
    table = Table(box=box.SIMPLE, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("", no_wrap=True)
    for method in methods:
        table.add_column(method, justify="right", no_wrap=True)
    splits = range(num_splits)
    for pair in pairs:
        row = ([results[Cell(method, pair, split)] for split in splits] for method in methods)
        table.add_row(str(pair), *map(mean_with_interval, row))
    means = ([fmean(results[Cell(name, pair, split)] for pair in pairs) for split in splits] for name in methods)
    table.add_row("mean", *map(mean_with_interval, means))
    if with_references:
        for heading, known in (("published", PUBLISHED), ("measured again", REMEASURED)):
            table.add_row(heading, *(f"{known[method]:.1f}" if method in known else "" for method in methods))
    console = Console(highlight=False)
    console.print(title, soft_wrap=True)  # above the table, because a title of it would be as narrow as the table
    console.print(table)
