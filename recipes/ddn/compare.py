"""The command that sets domain-aware nets beside their baselines."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from lightning_edge.checkpoints import last_checkpoint
from lightning_edge.contracts import DetectionBatch
from lightning_edge.data.domains.partitions import ByAttributes
from lightning_edge.ops.names import distinct_keys
from recipes._cli.run_config import run_config
from recipes._experiments.seeds import seed_plans
from recipes.ddn import main
from recipes.ddn._report import Scores, print_report, write_report
from recipes.ddn.domains import count_images

_STATIC = ("--model.net.num_experts=1", "--model.net.gate=softmax")
"""A net of one expert, whose only gate is 1: the body as it is."""
_WIDTHS = {2: [23, 46, 91, 183], 4: [33, 65, 130, 261]}
"""Channels of the four stages of a ``resnet10_quarter`` with as many parameters as one of 2 or 4 experts."""


class Variant(NamedTuple):
    """A row of the comparison."""

    arguments: tuple[str, ...] = ()
    """By which it differs."""
    trained_as: str | None = None
    """Variant whose training it uses; its own if ``None``."""
    of_each_domain: bool = False
    """Whether it has a net for each domain, made of that training."""
    is_trained_on: bool = False
    """Whether those nets are trained on, in place of an evaluation alone."""


def make_variants(features: Path, width_option: str, fine_tuning: Sequence[str]) -> dict[str, Variant]:
    """All rows by name.

    Args:
        features: File that ``embed`` wrote.
        width_option: Argument that takes the channels of the encoder's stages.
        fine_tuning: Arguments of ``fit`` for training on one domain.
    """
    file = f"--data.embedding.features={features}"
    estimated = ("--data.embedding=Estimated", file)
    inner_means = ("--data.embedding.embedding=MeanFeatures", f"--data.embedding.embedding.features={features}")
    four = ("--model.net.num_experts=4",)
    wide = {num: (*_STATIC, f'--{width_option}={{"channels": {width}}}') for num, width in _WIDTHS.items()}
    return {
        "static": Variant(_STATIC),
        "wide2": Variant(wide[2]),
        "wide4": Variant(wide[4]),
        "condconv4": Variant(("--model.net=CondConvNet", *four)),
        "fine_tuned": Variant(tuple(fine_tuning), "static", of_each_domain=True, is_trained_on=True),
        "norms": Variant(("--trainer.callbacks+=NormReestimation",), "static", of_each_domain=True),
        "ddn2": Variant(("--model.net.num_experts=2",)),
        "ddn4": Variant(four),
        "ddn4_estimated": Variant(estimated, "ddn4"),
        "ddn4_shuffled": Variant(("--data.embedding=Shuffled",), "ddn4"),
        "ddn4_random": Variant((*four, "--data.embedding=AtRandom")),
        "means4": Variant((*four, "--data.embedding=MeanFeatures", file)),
        "means4_estimated": Variant((*estimated, *inner_means), "means4"),
        "means4_shuffled": Variant(("--data.embedding=Shuffled", *inner_means), "means4"),
        "means4_of_image": Variant(("--data.embedding=ImageFeatures", file), "means4"),
    }


VARIANTS = tuple(make_variants(Path(), "", ()))


def compare(
    folder: Path = Path("runs/ddn_comparison"),
    num_seeds: int = 3,
    split: Literal["val", "test"] = "test",
    variants: tuple[str, ...] = VARIANTS,
    overrides: tuple[str, ...] = (),
    width_option: str = "model.net.body.encoder_options",
    fine_tuning: tuple[str, ...] = (
        "--trainer.max_epochs=4",
        "--trainer.check_val_every_n_epoch=4",
        "--model.optimizer.lr=2.0e-4",
    ),
) -> dict[str, float]:
    """Fit domain-aware nets and their baselines under several seeds, and print their scores by domain.

    AP50 of detectors, accuracy of classifiers. All variants under three seeds take as long as some 27 fits, so name a
    few variants to begin with.

    A stopped comparison goes on where it was, and one with more seeds or variants uses those that are there.

    Args:
        folder: Where the runs lie, one folder for each seed; ``comparison.csv`` has a row for each variant and seed,
            ``comparison.png`` shows the means over domains.
        num_seeds: How many runs of each variant.
        split: Data on which the nets are compared; settings are chosen on ``val``.
        variants: Which ones; the card says what each is, and what it is told of domains.
        overrides: Further arguments of ``fit`` for all runs, such as ``["-c", "digits.yaml"]``.
        width_option: Argument that widens the net for the ``wide`` variants: it takes the channels of the encoder's
            stages, and is given those for a ``resnet10_quarter``; ``model.net.body.model_options`` for classifiers.
        fine_tuning: Arguments of ``fit`` for training on one domain.

    Raises:
        ValueError: There is no such variant, none at all, or no seed; the data are not parted by attributes; a run
            logged no score of a domain.
    """
    features = (folder / "features.npz").absolute()
    known = make_variants(features, width_option, fine_tuning)
    if not variants or not set(variants) <= known.keys():
        raise ValueError(f"expected variants among {list(known)}, got {[v for v in variants if v not in known]}")
    datamodule = main(["domains", *overrides]).datamodule
    metric = "ap50" if getattr(datamodule, "batch_type", None) is DetectionBatch else "accuracy"
    if not features.is_file():
        main(["embed", *overrides, f"--file={features}"])
    found: dict[str, list[Scores]] = {name: [] for name in variants}
    for seed, plan in seed_plans(num_seeds, overrides).items():
        runs = _Runs(folder / seed, plan, f"{split}/{metric}", known, _only(datamodule, split))
        for name in variants:
            found[name].append(runs.scores(name))
            write_report(found, metric, folder)
    print_report(found, metric)
    return {f"{name}_{metric}": sum(score.mean for score in scores) / num_seeds for name, scores in found.items()}


class _Runs:
    """The runs of one seed.

    Args:
        folder: Where they lie.
        plan: Arguments of all of them.
        metric: What is read from them, such as ``test/ap50``; its first part is the split.
        variants: All there are.
        only: Argument that keeps the images of a domain, by its key in the logs.
    """

    def __init__(
        self,
        folder: Path,
        plan: Sequence[str],
        metric: str,
        variants: Mapping[str, Variant],
        only: Mapping[str, str],
    ) -> None:
        self.folder, self.plan, self.metric, self.variants, self.only = folder, plan, metric, variants, only
        self.split = metric.partition("/")[0]

    def scores(self, name: str) -> Scores:
        """Scores of a variant."""
        variant = self.variants[name]
        if not variant.of_each_domain:
            metrics = self._run(name, variant, ())
            of_domains = {key: self._metric_of(metrics, key) for key in self.only}
            return Scores.of(metrics[self.metric], of_domains)
        of_domains = {}
        for key, only in self.only.items():
            of_domains[key] = self._metric_of(self._run(f"{name}/{key}", variant, (only,)), key)
        return Scores.of(None, of_domains)

    def _metric_of(self, metrics: Mapping[str, float], domain: str) -> float:
        name = f"{self.metric}_{domain}"
        if name not in metrics:
            logged = sorted(key for key in metrics if key.endswith(domain))
            raise ValueError(
                f"expected {name} to be logged at the end of a run, got {logged}: evaluate all images "
                f"(trainer.limit_{self.split}_batches), and validate the last epoch (trainer.check_val_every_n_epoch)"
            )
        return metrics[name]

    def _run(self, name: str, variant: Variant, extra: Sequence[str]) -> dict[str, float]:
        """Metrics of a variant, whose training is its own or that of another one."""
        if variant.trained_as is None:
            arguments = [*self.plan, *variant.arguments]
            return self._evaluated(name, arguments, run_config("ddn", arguments, self.folder / name))
        trained = self.variants[variant.trained_as]
        run_config("ddn", [*self.plan, *trained.arguments], self.folder / variant.trained_as)
        checkpoint = last_checkpoint(self.folder / variant.trained_as)
        arguments = [*self.plan, *trained.arguments, *variant.arguments, *extra]
        if variant.is_trained_on:
            start = ("--trainer.callbacks+=WarmStart", f"--trainer.callbacks.checkpoint={checkpoint}")
            return self._evaluated(name, arguments, run_config("ddn", [*arguments, *start], self.folder / name))
        command = "validate" if self.split == "val" else "test"
        return run_config("ddn", [*arguments, f"--ckpt_path={checkpoint}"], self._evaluation(name), command)

    def _evaluated(self, name: str, arguments: Sequence[str], of_fit: dict[str, float]) -> dict[str, float]:
        """Metrics of a run on the split: those of the last validation, or of a test."""
        if self.split == "val":
            return of_fit
        checkpoint = last_checkpoint(self.folder / name)
        return run_config("ddn", [*arguments, f"--ckpt_path={checkpoint}"], self._evaluation(name), "test")

    def _evaluation(self, name: str) -> Path:
        """Folder of an evaluation, beside that of a training."""
        return self.folder / (name if self.split == "val" else f"{name}_test")


def _only(datamodule: Any, split: Literal["val", "test"]) -> dict[str, str]:
    """For each domain that has images for training and evaluation, the argument that keeps them."""
    if not isinstance(datamodule.partition, ByAttributes):
        raise ValueError(f"expected data parted ByAttributes, got {type(datamodule.partition).__name__}")
    counts = [count_images(datamodule, part) for part in ("train", split)]
    values = datamodule.partition.values_of_domains(datamodule.vocabulary)
    names = [name for name in counts[0] if name in counts[1]]
    return {
        key: "--data.only=" + json.dumps({attribute: [value] for attribute, value in values[name].items()})
        for key, name in zip(distinct_keys(names, "domain"), names, strict=True)
    }
