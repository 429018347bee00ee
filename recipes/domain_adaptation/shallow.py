"""The command that compares shallow methods of domain adaptation on Office-Caltech10."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from lightning_edge.checks import check_names, check_whole_at_least
from recipes.domain_adaptation._shallow_data import Domain, Pair, digest, draw_labeled, parse_pairs, read_domains
from recipes.domain_adaptation._shallow_methods import FEW_LABELS, MACHINES, NEIGHBORS
from recipes.domain_adaptation._shallow_results import Cell, Results
from recipes.domain_adaptation._shallow_tables import NOTE, REFERENCES_NOTE, print_table

PAIRS = ("C-A", "C-W", "C-D", "A-C", "A-W", "A-D", "W-C", "W-A", "W-D", "D-C", "D-A", "D-W")
"""All pairs of the domains Caltech10, amazon, webcam and dslr, in the order of the published tables."""

_REAL_SPLITS, _REAL_PER_CLASS = 20, 20
_SAMPLE_SPLITS, _SAMPLE_PER_CLASS = 3, 8
"""The generated domains are smaller, so that a run takes a minute."""


def shallow(
    root: Path | None = None,
    folder: Path = Path("runs/domain_adaptation_shallow"),
    methods: tuple[str, ...] = (*NEIGHBORS, *MACHINES, *FEW_LABELS),
    pairs: tuple[str, ...] = PAIRS,
    kind: str = "SURF_L10",
    num_splits: int | None = None,
    images_per_class: int | None = None,
) -> dict[str, float]:
    """Compare shallow methods of domain adaptation on Office-Caltech10, in two published protocols.

    In the first protocol, the labels of all source images are known, and the classifier is the nearest neighbor or a
    linear support vector machine. In the second one, that of CORAL (arXiv:1511.05547), only the labels of a few images
    of each class are known, in several random splits. Writes ``full_source.csv`` and ``few_labels.csv`` to the folder.
    A stopped run continues when it is started again. It uses the accuracies of these files that belong to the same data
    and settings.

    Args:
        root: Folder with ``amazon_SURF_L10.mat``, ``Caltech10_SURF_L10.mat``, ``dslr_SURF_L10.mat`` and
            ``webcam_SURF_L10.mat``, or with ``.npz`` files. ``None`` uses generated features of fewer images.
        folder: Folder for the tables.
        methods: Methods to compare. Those that end in ``-RBF`` or ``-LINEAR`` belong to the second protocol.
        pairs: Pairs of a source and a target domain by their initials, such as ``A-W``.
        kind: Kind of the features, the end of the names of the files.
        num_splits: Number of random splits of the second protocol; 20 for the files of ``root``, and 3 for generated
            features.
        images_per_class: Number of labeled source images of each class in the second protocol; 20 for the files of
            ``root``, and 8 for generated features. All images of a class with fewer are used, as in the published code.

    Raises:
        ValueError: A method or a pair is unknown, a number is too small, or a file is damaged.
    """
    is_real = root is not None
    if num_splits is None:
        num_splits = _REAL_SPLITS if is_real else _SAMPLE_SPLITS
    if images_per_class is None:
        images_per_class = _REAL_PER_CLASS if is_real else _SAMPLE_PER_CLASS
    check_whole_at_least(1, num_splits=num_splits)
    check_whole_at_least(2, images_per_class=images_per_class)  # for two-fold cross-validation
    neighbors, machines, few_labels = _by_protocol(methods)
    check_names(pairs=pairs)
    chosen = parse_pairs(pairs)
    domains = read_domains(root, kind)
    digests = {initial: digest(domain) for initial, domain in domains.items()}
    full = Results(folder / "full_source.csv", "all", digests)
    few = Results(folder / "few_labels.csv", f"{images_per_class} per class", digests)
    _fill(full, _cells(neighbors + machines, chosen, 1), domains, None)
    _fill(few, _cells(few_labels, chosen, num_splits), domains, images_per_class)
    splits = "one split" if num_splits == 1 else f"mean of {num_splits} splits with 95 % interval"
    of_few = f"Accuracy %, {images_per_class} labeled source images a class, {splits}"
    are_known = is_real and kind == "SURF_L10" and len(chosen) == len(PAIRS)
    few_are_known = are_known and images_per_class == _REAL_PER_CLASS
    for title, results, names, count, with_references in (
        ("Accuracy %, all source images, nearest neighbor", full, neighbors, 1, are_known),
        ("Accuracy %, all source images, linear support vector machine", full, machines, 1, are_known),
        (of_few, few, few_labels, num_splits, few_are_known),
    ):
        if names:
            print_table(title, results, names, chosen, count, with_references)
    Console().print(f"{NOTE} {REFERENCES_NOTE}" if are_known else NOTE, highlight=False)
    return _means(full, neighbors + machines, chosen, 1) | _means(few, few_labels, chosen, num_splits)


def _by_protocol(methods: Sequence[str]) -> list[list[str]]:
    """Methods of each table."""
    check_names(methods=methods)
    tables = (NEIGHBORS, MACHINES, FEW_LABELS)
    known = [name for table in tables for name in table]
    if unknown := [method for method in methods if method not in known]:
        raise ValueError(f"expected methods among {known}, got {unknown}")
    return [[name for name in methods if name in table] for table in tables]


def _cells(methods: Sequence[str], pairs: Sequence[Pair], num_splits: int) -> list[Cell]:
    return [Cell(name, pair, split) for pair in pairs for split in range(num_splits) for name in methods]


def _fill(results: Results, cells: Sequence[Cell], domains: Mapping[str, Domain], images_per_class: int | None) -> None:
    """Measure the cells that an earlier run has not measured, with a display of the progress."""
    missing = [cell for cell in cells if cell not in results]
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=len(missing))
        for cell in missing:
            progress.update(task, description=f"{cell.method} {cell.pair}")
            results.add(cell, _accuracy(cell, domains, images_per_class))
            progress.advance(task)


def _accuracy(cell: Cell, domains: Mapping[str, Domain], images_per_class: int | None) -> float:
    source, target = (domains[initial] for initial in cell.pair)
    if images_per_class is not None:
        source = draw_labeled(source, images_per_class, cell.split)
    predicted = {**NEIGHBORS, **MACHINES, **FEW_LABELS}[cell.method](source, target.features, cell.split)
    return 100 * float((predicted == target.labels).mean())


def _means(results: Results, methods: Sequence[str], pairs: Sequence[Pair], num_splits: int) -> dict[str, float]:
    """Mean accuracy of each method in percent."""
    return {name: fmean(results[cell] for cell in _cells([name], pairs, num_splits)) for name in methods}
