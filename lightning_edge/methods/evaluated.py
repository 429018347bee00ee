"""Base class of all methods with labels: validation and test use the same metrics, and need at least one label."""

from abc import abstractmethod
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor
from torchmetrics import Metric
from typing_extensions import override

from lightning_edge.contracts import evaluation_stage
from lightning_edge.methods.base import Method, OptimizerCallable
from lightning_edge.methods.schedules import Schedule
from lightning_edge.ops.names import distinct_keys


class Evidence(Metric):
    """Number of labels and of NaN outputs in an evaluation, over all processes."""

    is_differentiable = False
    full_state_update = False
    num_labels: Tensor
    num_nan: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name in ("num_labels", "num_nan"):
            self.add_state(name, torch.tensor(0), dist_reduce_fx="sum")

    @override
    def update(self, num_labels: Tensor | int, *outputs: Tensor) -> None:
        """Count the labels of a batch and the NaN values in the net's outputs."""
        self.num_labels += num_labels
        for output in outputs:
            self.num_nan += output.isnan().sum()

    @override
    def compute(self) -> tuple[int, int]:
        """Number of labels and number of NaN values."""
        return int(self.num_labels), int(self.num_nan)


class EvaluatedMethod(Method):
    """A method that scores the predictions of its net for labeled data.

    Subclasses implement ``validation_step``, ``reset_scores`` and ``scores``, and count the labels and outputs of each
    step in ``evidence``. A test computes the same scores as a validation.

    Each loader of an evaluation has scores of its own. Those of the first one are logged as ``val/...``, and those of
    the others as ``val_<name>/...``, by the names that the data module gives its loaders.

    If evaluation data have no label at all, their first evaluation ends with an error, because no score is defined.
    Only loaders after the first one may have none, such as that of an unlabeled target domain. If an output contains
    NaN, all scores of the evaluation are NaN, and a warning says so.

    Args:
        optimizer: Function that makes the optimizer from the parameters.
        schedule: Function that maps the completed share of training to a factor of the learning rate. ``None`` means
            ``PolynomialDecay()``.
    """

    labeled_thing: str
    """Name of a labeled thing, such as "pixel". Messages use it."""
    num_classes: int
    domain_metrics: tuple[str, ...] = ()
    """Scores that are also logged for each domain, as ``<metric>_<domain>``."""

    def __init__(self, optimizer: OptimizerCallable, schedule: Schedule | None = None) -> None:
        super().__init__(optimizer, schedule)
        self.evidence = Evidence()
        self._loader = 0
        self._scores_by_loader: dict[int, dict[str, Any]] = {}

    @override
    def setup(self, stage: str) -> None:
        """Take the names of classes and domains from the data module, and check them before training.

        Raises:
            ValueError: The number of names is not the number of classes, or names of classes or domains are not
                distinct.
        """
        super().setup(stage)
        if stage == "predict":  # prediction takes any images, whose data may have other names
            return
        if self.class_names is not None and len(self.class_names) != self.num_classes:
            raise ValueError(
                f"expected class_names of the data module with a name for each class ({self.num_classes}), got "
                f"{len(self.class_names)}: {list(self.class_names)}"
            )
        distinct_keys(self._names_of_classes(), "class")
        distinct_keys(self.domain_names, "domain")

    @abstractmethod
    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> Any:
        """Update the metrics with the predictions for a batch of validation or test data."""

    @abstractmethod
    def reset_scores(self) -> None:
        """Reset all metrics."""

    @abstractmethod
    def scores(self) -> dict[str, Any]:
        """Scores over all processes, by the names under which they are logged after the stage."""

    def on_train_epoch_start(self) -> None:
        """Raise an error if the validation data are empty, because Lightning would silently log no score.

        Raises:
            ValueError: All validation loaders are empty.
        """
        num_batches = self.trainer.num_val_batches
        if self.trainer.limit_val_batches and num_batches and not any(num_batches):
            raise ValueError(
                "The validation data are empty, so there is no score. Provide at least one batch, or set "
                "trainer.limit_val_batches=0 to train without validation."
            )

    @property
    def is_first_loader(self) -> bool:
        """Whether the scores are those of the first loader. Methods that keep other results keep them of this one."""
        return self._loader == 0

    def on_validation_epoch_start(self) -> None:
        """Reset all metrics, which an interrupted evaluation may have left filled."""
        self._loader, self._scores_by_loader = 0, {}
        self._reset()

    @override
    def on_validation_batch_start(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Raise an error for a batch of another type, and separate the scores of different loaders."""
        super().on_validation_batch_start(batch, batch_idx, dataloader_idx)
        self._begin_loader(dataloader_idx)

    @override
    def on_test_batch_start(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Raise an error for a batch of another type, and separate the scores of different loaders."""
        super().on_test_batch_start(batch, batch_idx, dataloader_idx)
        self._begin_loader(dataloader_idx)

    def on_validation_epoch_end(self) -> None:
        """Log the scores of the validation data."""
        self._log_scores()

    def on_test_epoch_start(self) -> None:
        """Reset all metrics, which an interrupted evaluation may have left filled."""
        self.on_validation_epoch_start()

    def test_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> Any:
        """Update the metrics as in validation."""
        return self.validation_step(batch, batch_idx)

    def on_test_epoch_end(self) -> None:
        """Log the scores of the test data."""
        self._log_scores()

    def discard_scores(self) -> None:
        """Discard other results of an evaluation whose outputs were NaN, in methods that keep any."""

    def _names_of_classes(self) -> tuple[str, ...]:
        return tuple(map(str, self.class_names or range(self.num_classes)))

    def _reset(self) -> None:
        self.evidence.reset()
        self.reset_scores()

    def _begin_loader(self, loader: int) -> None:
        if loader != self._loader:
            self._finish_loader()
            self._loader = loader
            self._reset()

    def _finish_loader(self) -> None:
        """Compute the scores of the current loader."""
        stage = self._stage(self._loader)
        num_labels, num_nan = self.evidence.compute()
        if not num_labels:
            if self.is_first_loader:
                self._report_no_labels(stage)
            return
        scores = self.scores()
        if num_nan:
            rank_zero_warn(
                f"The net's outputs for the {stage} split contain {num_nan} NaN, so all scores of this evaluation are "
                "NaN. The training may have diverged: a smaller learning rate or full precision may help."
            )
            scores = dict.fromkeys(scores, torch.nan)
            if self.is_first_loader:
                self.discard_scores()
        self._scores_by_loader[self._loader] = scores

    def _log_scores(self) -> None:
        self._finish_loader()
        for loader, scores in self._scores_by_loader.items():
            self.log_dict({f"{self._stage(loader)}/{name}": value for name, value in scores.items()})

    def _stage(self, loader: int) -> str:
        """First part of the keys of a loader's scores: ``val`` or ``test``, and the loader's name if it has one."""
        data = getattr(self.trainer, "datamodule", None)
        return evaluation_stage(data, "test" if self.trainer.testing else "val", loader)

    def _report_no_labels(self, stage: str) -> None:
        trainer = self.trainer
        is_whole = not trainer.sanity_checking or trainer.num_sanity_val_batches == trainer.num_val_batches
        where = f"the {stage} split" if is_whole else f"the first batches of the {stage} split"
        message = (
            f"No {self.labeled_thing} of {where} is labeled, so there is no score. Check that the split has labels, "
            "and that these are classes of the data module."
        )
        if is_whole and not trainer.fast_dev_run:  # pyright: ignore[reportAttributeAccessIssue]
            raise ValueError(message)
        rank_zero_warn(message)
