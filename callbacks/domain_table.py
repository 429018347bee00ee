"""A table with the scores of each domain, which grows during the training."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.trainer.states import TrainerFn
from typing_extensions import override

from callbacks._csv_text import append_rows, as_text
from lightning_edge.contracts import NamesEvaluations, evaluation_stage
from lightning_edge.ops.names import key_of

_COLUMNS = ("epoch", "step", "metric", "domain", "value")


class DomainTable(Callback):
    """Collects the scores that a method logs for each domain in ``domain_names`` of the data module.

    These are all keys ``<stage>/<metric>_<domain>``, such as ``val/ap50_night``. In a key, each character of the
    domain's name that is not a letter or a digit is an underscore. If the module has ``domain_metrics``, only those
    metrics are collected; this leaves out, for example, the score of a class with the name of a domain. After each
    validation and test, the scores are appended to ``domains_<stage>.csv`` in the run's folder, with the columns epoch,
    step, metric, domain and value. A resumed run appends to the same file. A domain whose name a spreadsheet would run
    as a formula gets an apostrophe in front. The sanity check is ignored. Without domains, nothing happens. If the data
    module has several loaders, each has its own table, whose stage is that of its scores, such as ``val_target``.

    ===================  =============================================================  ====
    key                  meaning                                                        unit
    ===================  =============================================================  ====
    ``<stage>/domains``  table of domain, metric and value, for a ``WandbLogger`` only  -
    ===================  =============================================================  ====

    The table is logged for the last validation of a training, and for each separate validation and test.
    """

    def __init__(self) -> None:
        self._folder: str | None = None
        self._last_scores: dict[str, list[_Score]] = {}

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._folder = (
            trainer.log_dir
        )  # its getter communicates with all processes, so the first one cannot call it alone
        self._last_scores = {}

    @override
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.sanity_checking:
            return
        self._last_scores = self._write(trainer, pl_module, "val")
        if trainer.state.fn == TrainerFn.VALIDATING:
            _log_tables(trainer, self._last_scores)

    @override
    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        _log_tables(trainer, self._last_scores)

    @override
    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        _log_tables(trainer, self._write(trainer, pl_module, "test"))

    def _write(self, trainer: Trainer, module: LightningModule, stage: str) -> dict[str, list["_Score"]]:
        """Append the scores of all loaders to their files, and return them by the stage of the loader."""
        data = getattr(trainer, "datamodule", None)
        num_loaders = len(data.evaluation_names) if isinstance(data, NamesEvaluations) else 1
        stages = [evaluation_stage(data, stage, loader) for loader in range(num_loaders)]
        return {name: self._write_one(trainer, module, name) for name in stages}

    def _write_one(self, trainer: Trainer, module: LightningModule, stage: str) -> list["_Score"]:
        scores = _scores(trainer, module, stage) if trainer.is_global_zero and not _is_trial(trainer) else []
        if scores and self._folder is not None:
            path = Path(self._folder) / f"domains_{stage}.csv"
            path.parent.mkdir(parents=True, exist_ok=True)
            position = trainer.current_epoch, trainer.global_step
            rows = [(*position, score.metric, as_text(score.domain), score.value) for score in scores]
            append_rows(path, rows if path.exists() else [_COLUMNS, *rows])
        return scores


class _Score(NamedTuple):
    metric: str
    domain: str
    value: float


def _scores(trainer: Trainer, module: LightningModule, stage: str) -> list[_Score]:
    """Scores of the domains, in the order of the data's names."""
    metrics = getattr(module, "domain_metrics", None)
    names = getattr(getattr(trainer, "datamodule", None), "domain_names", None) or ()
    scores = []
    for key, value in trainer.callback_metrics.items():
        # the longest matching name, because the key of "night rain" also ends with "rain"
        fitting = [name for name in names if key.startswith(f"{stage}/") and key.endswith(f"_{key_of(name)}")]
        if fitting:
            domain = max(fitting, key=lambda name: len(key_of(name)))
            metric = key.removeprefix(f"{stage}/").removesuffix(f"_{key_of(domain)}")
            if metrics is None or metric in metrics:
                scores.append(_Score(metric, domain, float(value)))
    return sorted(scores, key=lambda score: (score.metric, names.index(score.domain)))


def _log_tables(trainer: Trainer, scores_by_stage: Mapping[str, Sequence[_Score]]) -> None:
    for stage, scores in scores_by_stage.items():
        rows = [[score.domain, score.metric, score.value] for score in scores]
        for logger in trainer.loggers if rows else ():
            if isinstance(logger, WandbLogger):
                logger.log_table(f"{stage}/domains", ["domain", "metric", "value"], rows, step=trainer.global_step)


def _is_trial(trainer: Trainer) -> bool:
    return bool(getattr(trainer, "fast_dev_run", False))
