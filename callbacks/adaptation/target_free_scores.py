"""Scores that select a checkpoint for the target without its labels."""

from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_warn
from rich.console import Console
from typing_extensions import override

from callbacks.adaptation._evaluation_rows import LEAST_ROWS, EvaluationRows
from callbacks.adaptation._rows import Rows
from lightning_edge.analysis.model_selection import select_epochs, selection_table
from lightning_edge.checks import check_whole_at_least
from lightning_edge.metrics.adaptation.target_free_scores import KEYS, target_free_scores

_SCORES = [f"target_free/{key}" for key in KEYS]
"""Keys under which the scores are logged."""


class TargetFreeScores(EvaluationRows):
    """Scores the module for the target after each validation, **without labels of the target**.

    A checkpoint is then selected as on a real target, for example by
    ``ModelCheckpoint(monitor="target_free/information", mode="max")``. The scores compare features and logits of a
    layer on the validation data of source and target, so the data module must evaluate both, as
    :class:`~lightning_edge.data.domain_adaptation.AdaptationDataModule` does. For segmentation, they are computed from
    a sample of pixels. For detection, they are computed from the highest cells of each image, with the background as a
    further class, if the net scores each class in each cell of one map, as
    :class:`~lightning_edge.nn.detection.center_detector.CenterDetector` does. Which cells these are depends on the net,
    while samples and pixels are the same in each epoch.

    At the end of the fit, a table shows which accuracy each score would have selected, next to the last and the best
    one, and how well it ranks the epochs. For this table alone, labels of the target are used, and only if ``accuracy``
    was logged.

    ==============================================  =============================================================  ====
    key                                             meaning                                                        unit
    ==============================================  =============================================================  ====
    ``target_free/<score>``                         a score of                                                     -
                                                    :func:`~lightning_edge.metrics.adaptation.target_free_scores`
    ==============================================  =============================================================  ====

    All scores are better if they are higher. With several processes, each one scores its share of the data, and the
    mean is logged.

    Args:
        layer: Name of the layer whose input are the features and whose outputs are the logits. ``None`` means the last
            linear layer or convolution whose outputs are the classes.
        max_rows: Largest number of samples, pixels or candidates of each domain.
        accuracy: Key of the accuracy on the target, for the table at the end.
        show_table: Whether to print that table.

    Raises:
        ValueError: ``max_rows`` is too small. Later: the data module does not evaluate source and target, the module
            has no such layer, or its outputs are not logits of labeled samples, pixels or cells.
    """

    def __init__(
        self,
        layer: str | None = None,
        max_rows: int = 2000,
        accuracy: str = "val_target/accuracy",
        show_table: bool = True,
    ) -> None:
        check_whole_at_least(LEAST_ROWS, max_rows=max_rows)
        super().__init__(layer, max_rows)
        self.accuracy = accuracy
        self.show_table = show_table
        self._evaluations: list[dict[str, float]] = []
        """Epoch, scores and accuracy of each validation of the fit."""

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        self._evaluations = []

    @override
    def use_rows(self, trainer: Trainer, module: LightningModule, source: Rows | None, target: Rows | None) -> None:
        scores = {f"target_free/{key}": value for key, value in _scores(source, target).items()}
        module.log_dict(scores, sync_dist=True)

    @override
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.sanity_checking:
            keys = {self.accuracy, *_SCORES} & trainer.callback_metrics.keys()
            values = {key: float(trainer.callback_metrics[key]) for key in keys}
            self._evaluations.append({"epoch": trainer.current_epoch, **values})

    @override
    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.show_table and self._evaluations and trainer.is_global_zero:
            chosen = select_epochs(self._evaluations, _SCORES, self.accuracy)
            table = selection_table([chosen], self.accuracy.rpartition("/")[2])
            Console(soft_wrap=True, highlight=False).print(table)

    @override
    def state_dict(self) -> dict[str, Any]:
        return {"evaluations": self._evaluations}

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._evaluations = list(state_dict["evaluations"])


def _scores(source: Rows | None, target: Rows | None) -> dict[str, float]:
    """All scores, which are NaN if there are too few rows or some are not finite."""
    if source is None or target is None or min(len(source.logits), len(target.logits)) < LEAST_ROWS:
        rank_zero_warn(f"TargetFreeScores needs {LEAST_ROWS} samples of source and target, so its scores are NaN.")
        return dict.fromkeys(KEYS, torch.nan)
    if not all(values.isfinite().all() for values in (*source[:2], *target[:2])):
        rank_zero_warn("The features or logits contain NaN, so all scores without target labels are NaN.")
        return dict.fromkeys(KEYS, torch.nan)
    return target_free_scores(source.features, source.logits, source.labels.long(), target.features, target.logits)
