"""The command that compares domain-aware nets with their baselines."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from lightning_edge.contracts import DetectionBatch
from lightning_edge.data import ByAttributes
from lightning_edge.ops.names import distinct_keys
from recipes._experiments.jobs import Backend
from recipes._experiments.study import Study, Variant, evaluation_name, with_evaluations
from recipes.ddn._report import Scores, print_report, write_report
from recipes.ddn.domains import count_images
from recipes.ddn.embed import embed

_STATIC = ("--model.net.num_experts=1", "--model.net.gate=softmax")
"""A net with one expert, whose gate is always 1. It is equal to the plain body."""
_WIDTHS = {2: [23, 46, 91, 183], 4: [33, 65, 130, 261]}
"""Channels of the four stages of a ``resnet10_quarter`` with as many parameters as one with 2 or 4 experts."""


Split = Literal["val", "test"]


class Row(NamedTuple):
    """A row of the comparison."""

    arguments: tuple[str, ...] = ()
    """Arguments of its training that the other rows do not have."""
    trained_as: str | None = None
    """Row whose training it uses; ``None`` if it has its own."""
    is_by_domain: bool = False
    """Whether it derives a net for each domain from that training."""
    is_trained_on: bool = False
    """Whether those nets are trained further, not only evaluated."""


def make_rows(features: Path, width_option: str, fine_tuning: tuple[str, ...]) -> dict[str, Row]:
    """All rows by name.

    Args:
        features: File that the command ``embed`` writes.
        width_option: Option for the channels of the encoder's stages.
        fine_tuning: Arguments of ``fit`` for training on one domain.
    """
    file = f"--data.embedding.features={features}"
    estimated = ("--data.embedding=EstimatedEmbedding", file)
    inner_means = ("--data.embedding.embedding=MeanFeatureEmbedding", f"--data.embedding.embedding.features={features}")
    four = ("--model.net.num_experts=4",)
    wide = {num: (*_STATIC, f'--{width_option}={{"channels": {width}}}') for num, width in _WIDTHS.items()}
    return {
        "static": Row(_STATIC),
        "wide2": Row(wide[2]),
        "wide4": Row(wide[4]),
        "condconv4": Row(("--model.net=CondConvNet", *four)),
        "fine_tuned": Row(fine_tuning, "static", is_by_domain=True, is_trained_on=True),
        "norms": Row(("--trainer.callbacks+=NormReestimation",), "static", is_by_domain=True),
        "ddn2": Row(("--model.net.num_experts=2",)),
        "ddn4": Row(four),
        "ddn4_estimated": Row(estimated, "ddn4"),
        "ddn4_shuffled": Row(("--data.embedding=ShuffledEmbedding",), "ddn4"),
        "ddn4_random": Row((*four, "--data.embedding=RandomEmbedding")),
        "means4": Row((*four, "--data.embedding=MeanFeatureEmbedding", file)),
        "means4_estimated": Row((*estimated, *inner_means), "means4"),
        "means4_shuffled": Row(("--data.embedding=ShuffledEmbedding", *inner_means), "means4"),
        "means4_of_image": Row(("--data.embedding=ImageFeatureEmbedding", file), "means4"),
    }


VARIANTS = tuple(make_rows(Path(), "", ()))


def compare(
    datamodule: Any,
    folder: Path = Path("runs/ddn_comparison"),
    num_seeds: int = 3,
    split: Split = "test",
    variants: tuple[str, ...] = VARIANTS,
    fine_tuning_epochs: int = 4,
    fine_tuning_lr: float = 2.0e-4,
    backend: Backend = "process",
    fit_arguments: tuple[str, ...] = (),
) -> dict[str, float]:
    """Train domain-aware nets and their baselines with several seeds, and print their scores by domain.

    The score is AP50 for detectors and accuracy for classifiers. All variants with three seeds take as long as about 27
    fits, so start with a few variants. A stopped comparison continues when it is started again, and one with more seeds
    or variants reuses the existing runs.

    Args:
        datamodule: The data.
        folder: Folder of the runs, with a subfolder for each seed. ``comparison.csv`` has a row for each variant and
            seed, and ``comparison.png`` shows the means over domains.
        num_seeds: Number of runs of each variant.
        split: Data on which the nets are compared. Settings are chosen on ``val``.
        variants: The variants to train. The method's card describes each variant and what it knows about the domains.
        fine_tuning_epochs: Number of epochs of the training on one domain.
        fine_tuning_lr: Learning rate of the training on one domain.
        backend: ``process`` runs the trainings one after the other, ``ray`` in parallel.
        fit_arguments: All other options, for every ``fit``, such as ``-c digits.yaml``.

    Raises:
        ValueError: A variant is unknown, there are no variants or no seeds, the data are not divided by attributes, or
            a run logged no score for a domain.
    """
    is_detection = getattr(datamodule, "batch_type", None) is DetectionBatch
    width_option = f"model.net.body.{'encoder' if is_detection else 'model'}_options"
    features = (folder / "features.npz").absolute()
    rows = make_rows(features, width_option, _fine_tuning(fine_tuning_epochs, fine_tuning_lr))
    if not variants or not set(variants) <= rows.keys():
        raise ValueError(f"expected variants among {list(rows)}, got {[v for v in variants if v not in rows]}")
    only = _only(datamodule, split)
    study = Study("ddn", _runs(variants, rows, split, only), folder, num_seeds, fit_arguments, backend)
    if not features.is_file():
        embed(datamodule, features)
    study.run()
    metric = "ap50" if is_detection else "accuracy"
    results = {name: _scores(study, name, rows[name], f"{split}/{metric}", only) for name in variants}
    write_report(results, metric, folder)
    print_report(results, metric)
    return {f"{name}_{metric}": sum(score.mean for score in scores) / num_seeds for name, scores in results.items()}


def _fine_tuning(num_epochs: int, learning_rate: float) -> tuple[str, ...]:
    return (
        f"--trainer.max_epochs={num_epochs}",
        f"--trainer.check_val_every_n_epoch={num_epochs}",
        f"--model.optimizer.lr={learning_rate}",
    )


def _runs(names: tuple[str, ...], rows: Mapping[str, Row], split: Split, only: Mapping[str, str]) -> dict[str, Variant]:
    """Trainings and evaluations that the named rows need.

    Args:
        names: Names of the rows to run.
        rows: All rows.
        split: Data to evaluate them on.
        only: Option that selects the images of one domain, by the domain's key in the logs.
    """
    runs: dict[str, Variant] = {}
    for name in names:
        row = rows[name]
        training = row if row.trained_as is None else rows[row.trained_as]
        runs |= with_evaluations({row.trained_as or name: Variant(training.arguments)}, split)
        if row.trained_as is not None:
            runs |= _runs_after_training(name, row, training, split, only if row.is_by_domain else {})
    return runs


def _runs_after_training(
    name: str, row: Row, training: Row, split: Split, only: Mapping[str, str]
) -> dict[str, Variant]:
    """Runs of a row that start from the training of another row, for all images or for those of each domain."""
    command = "fit" if row.is_trained_on else "validate" if split == "val" else "test"
    options = {f"{name}/{key}": (option,) for key, option in only.items()} or {name: ()}
    runs: dict[str, Variant] = {}
    for path, option in options.items():
        run = Variant((*training.arguments, *row.arguments, *option), command, starts_from=row.trained_as)
        if row.is_trained_on:
            runs |= with_evaluations({path: run}, split)
        else:
            runs[evaluation_name(path, split)] = run
    return runs


def _scores(study: Study, name: str, row: Row, metric: str, only: Mapping[str, str]) -> list[Scores]:
    """Scores of a row, seed by seed."""
    split = metric.partition("/")[0]
    if not row.is_by_domain:
        return [
            Scores.from_fractions(metrics.get(metric), {key: _of_domain(metrics, metric, key) for key in only})
            for metrics in study.metrics(evaluation_name(name, split))
        ]
    runs = {key: study.metrics(evaluation_name(f"{name}/{key}", split)) for key in only}
    return [
        Scores.from_fractions(None, {key: _of_domain(metrics[seed], metric, key) for key, metrics in runs.items()})
        for seed in range(study.num_seeds)
    ]


def _of_domain(metrics: Mapping[str, float], metric: str, domain: str) -> float:
    name = f"{metric}_{domain}"
    if name not in metrics:
        logged = sorted(key for key in metrics if key.endswith(domain))
        raise ValueError(
            f"expected {name} to be logged at the end of a run, got {logged}: evaluate all images "
            f"(trainer.limit_{metric.partition('/')[0]}_batches), and validate the last epoch "
            "(trainer.check_val_every_n_epoch)"
        )
    return metrics[name]


def _only(datamodule: Any, split: Split) -> dict[str, str]:
    """The argument that selects the images of a domain, for each domain with images for training and evaluation."""
    if not isinstance(datamodule.partition, ByAttributes):
        raise ValueError(
            f"expected data that are divided into domains ByAttributes, got {type(datamodule.partition).__name__}"
        )
    counts = [count_images(datamodule, part) for part in ("train", split)]
    values = datamodule.partition.values_of_domains(datamodule.vocabulary)
    names = [name for name in counts[0] if name in counts[1]]
    return {
        key: "--data.keep_attributes=" + json.dumps({attribute: [value] for attribute, value in values[name].items()})
        for key, name in zip(distinct_keys(names, "domain"), names, strict=True)
    }
