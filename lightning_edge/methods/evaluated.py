"""What all methods with labels share: validation and test count the same things, and never log a score of nothing."""

from abc import abstractmethod
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor
from torchmetrics import Metric
from typing_extensions import override

from lightning_edge.methods.base import Method, OptimizerCallable
from lightning_edge.methods.schedules import Schedule
from lightning_edge.ops.names import distinct_keys


class Evidence(Metric):
    """How much an evaluation rests on, in all processes together: labels, and outputs that are not numbers."""

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
        """Count the labels of a batch, and the numbers in the net's outputs that are NaN."""
        self.num_labels += num_labels
        for output in outputs:
            self.num_nan += output.isnan().sum()

    @override
    def compute(self) -> tuple[int, int]:
        """How many labels and NaN there were."""
        return int(self.num_labels), int(self.num_nan)


class EvaluatedMethod(Method):
    """A method that scores what its net predicts for labeled data.

    Subclasses give ``validation_step``, ``reset_scores`` and ``scores``, and count labels and outputs of each step in
    ``evidence``. Tests are validations of other data.

    Evaluation data without a single label are refused when they have been seen once, because no score is defined then.
    Outputs that hold NaN make all scores of the evaluation NaN, with a warning.

    Args:
        optimizer: Makes the optimizer of the parameters.
        schedule: Factor of the learning rate by the share of training done; ``PolynomialDecay()`` if ``None``.
    """

    labeled_thing: str
    """What has a label, such as "pixel", for messages."""
    num_classes: int
    domain_metrics: tuple[str, ...] = ()
    """Scores that are logged for each domain too, as ``<metric>_<domain>``."""

    def __init__(self, optimizer: OptimizerCallable, schedule: Schedule | None = None) -> None:
        super().__init__(optimizer, schedule)
        self.evidence = Evidence()

    @override
    def setup(self, stage: str) -> None:
        """Take over the names of classes and domains; refuse, before training, those that scores cannot be named by.

        Raises:
            ValueError: There is not one name for each class, or names of classes or domains cannot be told apart.
        """
        super().setup(stage)
        if stage == "predict":  # on any images, perhaps of data that have names of their own
            return
        if self.class_names is not None and len(self.class_names) != self.num_classes:
            raise ValueError(
                f"expected class_names of the data module with a name for each class ({self.num_classes}), got "
                f"{len(self.class_names)}: {list(self.class_names)}"
            )
        distinct_keys(self._names_of_classes(), "class")
        distinct_keys(self.domain_names, "domain")

    @abstractmethod
    def validation_step(self, batch: Any, batch_idx: int) -> Any:
        """Count what the net predicts for a batch of validation or test data."""

    @abstractmethod
    def reset_scores(self) -> None:
        """Forget what was counted."""

    @abstractmethod
    def scores(self) -> dict[str, Any]:
        """Scores of what was counted in all processes, by the names under which they are logged after the stage."""

    def on_train_epoch_start(self) -> None:
        """Refuse validation data without a batch, of which Lightning would log no score.

        Raises:
            ValueError: The validation loader is empty.
        """
        num_batches = self.trainer.num_val_batches
        if self.trainer.limit_val_batches and num_batches and not any(num_batches):
            raise ValueError(
                "The validation data are empty, so there is no score: expected at least one batch, or "
                "trainer.limit_val_batches=0 for a training without validation."
            )

    def on_validation_epoch_start(self) -> None:
        """Forget what an interrupted evaluation counted."""
        self.evidence.reset()
        self.reset_scores()

    def on_validation_epoch_end(self) -> None:
        """Log the scores of the validation data."""
        self._log_scores("val")

    def on_test_epoch_start(self) -> None:
        """Forget what an interrupted evaluation counted."""
        self.on_validation_epoch_start()

    def test_step(self, batch: Any, batch_idx: int) -> Any:
        """Count as in validation."""
        return self.validation_step(batch, batch_idx)

    def on_test_epoch_end(self) -> None:
        """Log the scores of the test data."""
        self._log_scores("test")

    def discard_scores(self) -> None:
        """Forget what is kept of an evaluation whose outputs were NaN, for methods that keep something."""

    def _names_of_classes(self) -> tuple[str, ...]:
        return tuple(map(str, self.class_names or range(self.num_classes)))

    def _log_scores(self, stage: str) -> None:
        num_labels, num_nan = self.evidence.compute()
        if not num_labels:
            self._refuse_unlabeled(stage)
            return
        scores = self.scores()
        if num_nan:
            rank_zero_warn(
                f"The net's outputs for the {stage} split hold {num_nan} NaN, so all scores of this evaluation are "
                "NaN: has the training diverged? A smaller learning rate or full precision may help."
            )
            scores = dict.fromkeys(scores, torch.nan)
            self.discard_scores()
        self.log_dict({f"{stage}/{name}": value for name, value in scores.items()})

    def _refuse_unlabeled(self, stage: str) -> None:
        trainer = self.trainer
        is_whole = not trainer.sanity_checking or trainer.num_sanity_val_batches == trainer.num_val_batches
        where = f"the {stage} split" if is_whole else f"the first batches of the {stage} split"
        message = (
            f"No {self.labeled_thing} of {where} is labeled, so there is no score: does the split have labels, and are "
            "they those of the data module's classes?"
        )
        if is_whole and not trainer.fast_dev_run:  # pyright: ignore[reportAttributeAccessIssue]
            raise ValueError(message)
        rank_zero_warn(message)
