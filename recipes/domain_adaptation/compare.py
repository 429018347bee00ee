"""The command that compares ways of domain adaptation with equal nets and budgets."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from lightning_edge.analysis.intervals import mean_with_interval
from lightning_edge.analysis.model_selection import Selection, selections
from lightning_edge.atomic_files import replace_table
from lightning_edge.data import UnlabeledImagesDataModule
from lightning_edge.metrics.adaptation.target_free_scores import KEYS
from recipes._cli.run_record import metrics_of_finished
from recipes._experiments.figure import draw_comparison
from recipes._experiments.jobs import Backend
from recipes._experiments.study import Study, Variant, choose_variants
from recipes.domain_adaptation._class_gains import class_scores, write_class_gains

_GROUP = "target_free"
_ORACLE = "oracle"
_MIX = "--trainer.callbacks.mix=true"
"""Argument of ``MeanTeacher``, which must be the last callback before it."""


def _with(*callbacks: str) -> tuple[str, ...]:
    """Arguments that add callbacks."""
    return tuple(f"--trainer.callbacks+={callback}" for callback in callbacks)


VARIANTS = {
    "source_only": (),
    _ORACLE: (),
    "dan": _with("DAN"),
    "jan": _with("JAN"),
    "coral": _with("CORAL"),
    "cmd": _with("CMD"),
    "class_discrepancy": _with("ClassDiscrepancy"),
    "deepjdot": _with("DeepJDOT"),
    "mcc": _with("MCC"),
    "entropy": _with("EntropyMinimization"),
    "bnm": _with("BNM"),
    "dann": _with("DANN"),
    "cdan": _with("CDAN"),
    "domain_confusion": _with("DomainConfusion"),
    "mcd": _with("MCD"),
    "mdd": _with("MDD"),
    "adda": _with("ADDA"),
    "cogan": _with("CoGAN"),
    "cycada": _with("CyCADA"),
    "drcn": _with("DRCN"),
    "dann_dsn": _with("DANN", "DSN"),
    "fda": _with("FDA"),
    "mean_teacher": _with("MeanTeacher"),
    "dann_mean_teacher": _with("DANN", "MeanTeacher"),
    "backgrounds": _with("TargetBackgrounds"),
    "backgrounds_dann_mean_teacher": _with("TargetBackgrounds", "DANN", "MeanTeacher"),
    "pseudo_boxes": _with("PseudoBoxes"),
    "adaptsegnet": _with("AdaptSegNet"),
    "advent": _with("ADVENT"),
    "mean_teacher_mix": (*_with("MeanTeacher"), _MIX),
    "fda_mean_teacher_mix": (*_with("FDA", "MeanTeacher"), _MIX),
    "fda_adaptsegnet_mean_teacher_mix": (*_with("FDA", "AdaptSegNet", "MeanTeacher"), _MIX),
}
"""Arguments of each way of adaptation."""
_FOR_BOXES = ("pseudo_boxes",)
_FOR_MAPS = (
    "adaptsegnet",
    "advent",
    "mean_teacher_mix",
    "fda_mean_teacher_mix",
    "fda_adaptsegnet_mean_teacher_mix",
)
_FOR_IMAGES = tuple(name for name in VARIANTS if name not in (*_FOR_MAPS, *_FOR_BOXES))


class Result(NamedTuple):
    """A row of ``comparison.csv``: one run, and one score by which its checkpoint may be selected."""

    variant: str
    seed: int
    score: str
    epoch: int | None
    """Epoch that the score selects."""
    selected: float
    """Accuracy on the target's validation data in that epoch, in percent."""
    last: float
    best: float
    """Accuracy in the best epoch, which only labels of the target reveal, in percent."""
    rank_correlation: float


def compare(
    folder: Path = Path("runs/domain_adaptation_comparison"),
    num_seeds: int = 3,
    variants: tuple[str, ...] = _FOR_IMAGES,
    select_by: str = "information",
    recipe: str = "domain_adaptation",
    base: str = "source_only.yaml",
    metric: str = "accuracy",
    class_metric: str = "recall",
    oracle_arguments: tuple[str, ...] = ("--data.source=lightning_edge.data.MNISTMDataModule",),
    backend: Backend = "process",
    fit_arguments: tuple[str, ...] = (),
) -> dict[str, float]:
    """Train with each way of adaptation under several seeds, and print the accuracies on the target.

    All variants have the same net, data and number of steps. For each, the table shows the accuracy on the target's
    test data of the checkpoint that was selected **without labels of the target**, and on its validation data those of
    the selected, the last and the best epoch. A stopped comparison continues when it is started again, and one with
    more seeds or variants reuses the existing runs.

    Args:
        folder: Folder of the runs, with a subfolder for each seed. ``comparison.csv`` has a row for each run and score,
            and ``comparison.png`` shows the accuracies on the test data. ``classes.csv`` and ``classes.png`` show the
            gain of each class over ``source_only``.
        num_seeds: Number of runs of each variant.
        variants: The variants to train: ``source_only``, ``oracle``, which is trained with the target's labels, or
            ways of adaptation, which are named after callbacks. The default is all that suit classification.
        select_by: Score that selects the checkpoint, see ``callbacks.adaptation.TargetFreeScores``.
        recipe: Recipe that trains.
        base: Configuration of that recipe without adaptation. Its last callback selects the checkpoint ``best``.
        metric: Score that is compared, such as ``miou``.
        class_metric: First part of the keys of the scores of classes, such as ``iou`` for ``test_target/iou_car``.
        oracle_arguments: Options that make the labeled target the source, for the variant ``oracle``.
        backend: ``process`` runs the trainings one after the other, ``ray`` in parallel.
        fit_arguments: All other options, for every ``fit``, such as ``--data.source.root=path/to/digits``.

    Raises:
        ValueError: A variant or the score is unknown, ``num_seeds`` is less than 1, or the options choose a target
            without labels.
    """
    if select_by not in KEYS:
        raise ValueError(f"expected select_by among {list(KEYS)}, got {select_by!r}")
    without_labels = UnlabeledImagesDataModule.__name__
    if unlabeled := [one for one in fit_arguments if one.startswith("--data.target") and one.endswith(without_labels)]:
        raise ValueError(
            f"expected a target with labels, which the comparison needs for its scores, got {unlabeled[0]}: compare on "
            "a labeled target that is similar, and use the best variant on this one"
        )
    known = VARIANTS | {_ORACLE: tuple(oracle_arguments)}
    chosen = choose_variants({name: Variant(arguments) for name, arguments in known.items()}, variants)
    # the configuration comes first, because it would override options before it
    arguments = ("-c", base, f"--trainer.callbacks.monitor={_GROUP}/{select_by}", *fit_arguments)
    study = Study(recipe, _with_tests(chosen), folder, num_seeds, arguments, backend)
    study.run(after_each=lambda: _write(study, chosen, metric))
    _write(study, chosen, metric)
    metrics = {name: study.metrics(f"{name}_test") for name in chosen}
    write_class_gains(class_scores(metrics, class_metric), class_metric, folder)
    tests = {name: _tested(runs, metric) for name, runs in metrics.items()}
    draw_comparison(tests, f"{metric} on the target").savefig(folder / "comparison.png", dpi=120)
    Console().print(_table(study, chosen, tests, select_by, metric))
    if adapted := [name for name in chosen if name != _ORACLE]:
        Console().print(_scores_table(study, adapted, metric))
    written = f"Tables and pictures: {folder}/comparison.csv, comparison.png, classes.csv, classes.png"
    Console().print(written, soft_wrap=True, highlight=False)
    return {f"{name}_{metric}": float(np.mean(values)) for name, values in tests.items()}


def _with_tests(variants: Mapping[str, Variant]) -> dict[str, Variant]:
    """Each fit, and the test of the checkpoint that it selected."""
    runs: dict[str, Variant] = {}
    for name, variant in variants.items():
        runs[name] = variant
        runs[f"{name}_test"] = Variant(variant.arguments, "test", starts_from=name, checkpoint="best")
    return runs


def _tested(runs: Iterable[Mapping[str, float]], metric: str) -> list[float]:
    """Scores on the target's test data in percent, by seed; NaN for a training that diverged."""
    return [100 * run.get(f"test_target/{metric}", float("nan")) for run in runs]


def _selections(study: Study, name: str, metric: str) -> dict[int, list[Selection]]:
    """The epochs that all scores select, by the seed of the finished run; nothing for one that stopped at NaN."""
    keys = [f"{_GROUP}/{key}" for key in KEYS]
    folders = {seed: study.folder_of(name, seed) for seed in range(study.num_seeds)}
    scored = {seed: folder for seed, folder in folders.items() if metrics_of_finished(folder)}
    return {seed: selections(folder, keys, f"val_target/{metric}") for seed, folder in scored.items()}


def _write(study: Study, variants: Iterable[str], metric: str) -> None:
    rows = [
        Result(
            name,
            seed,
            one.score.removeprefix(f"{_GROUP}/"),
            one.epoch,
            100 * one.accuracy,
            100 * one.last_accuracy,
            100 * one.best_accuracy,
            one.rank_correlation,
        )
        for name in variants
        for seed, chosen in _selections(study, name, metric).items()
        for one in chosen
    ]
    replace_table(study.folder / "comparison.csv", Result._fields, rows)


def _table(
    study: Study, variants: Iterable[str], tests: Mapping[str, Sequence[float]], select_by: str, metric: str
) -> Table:
    table = Table(
        title=f"{metric} % on the target, "
        + (f"mean of {study.num_seeds} seeds ± 95 % interval" if study.num_seeds > 1 else "one seed"),
        caption=f"test: test data, checkpoint selected by {select_by} without labels of the target. -source_only: "
        "difference with the same seed. selected, last, best: epochs on the validation data, means over the seeds; "
        "labels reveal the best.",
        box=box.SIMPLE,
        padding=0,
    )
    table.add_column("variant", no_wrap=True)
    for heading in ("test", "-source_only", "selected", "last", "best"):
        table.add_column(heading, justify="right", no_wrap=True)
    baseline = tests.get("source_only", [])
    for name in variants:
        chosen = [_chosen(scores, select_by) for scores in _selections(study, name, metric).values()]
        gain = [] if not baseline else [one - other for one, other in zip(tests[name], baseline, strict=True)]
        accuracies = [[one.accuracy, one.last_accuracy, one.best_accuracy] for one in chosen]
        cells = [f"{100 * np.mean(column):.1f}" for column in zip(*accuracies, strict=True)]
        table.add_row(name, mean_with_interval(tests[name]), mean_with_interval(gain), *cells)
    return table


def _scores_table(study: Study, variants: Iterable[str], metric: str) -> Table:
    """How well each score selects, over all runs without labels of the target."""
    runs = [run for name in variants for run in _selections(study, name, metric).values()]
    table = Table(
        title=f"Scores without target labels, over {len(runs)} runs",
        caption=f"lost: best {metric} % of a run minus that of the epoch that the score selects. rank: Spearman's "
        "correlation of score and accuracy over the epochs of a run.",
        box=box.SIMPLE,
        padding=0,
    )
    for heading in ("score", "lost", "rank"):
        table.add_column(heading, justify="left" if heading == "score" else "right", no_wrap=True)
    for of_score in zip(*runs, strict=True):
        lost = [100 * (one.best_accuracy - one.accuracy) for one in of_score]
        ranks = [one.rank_correlation for one in of_score if not np.isnan(one.rank_correlation)]
        rank = f"{np.mean(ranks):.2f}" if ranks else "-"
        table.add_row(of_score[0].score.removeprefix(f"{_GROUP}/"), mean_with_interval(lost), rank)
    return table


def _chosen(scores: Iterable[Selection], select_by: str) -> Selection:
    return next(one for one in scores if one.score == f"{_GROUP}/{select_by}")
