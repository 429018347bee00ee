"""Classification of images."""

import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.optim import AdamW
from torchmetrics.classification import MulticlassAccuracy

from lightning_edge.contracts import ClassificationBatch, FrameBatch
from lightning_edge.methods.base import OptimizerCallable
from lightning_edge.methods.evaluated import EvaluatedMethod
from lightning_edge.methods.mean_loss import MeanLoss
from lightning_edge.methods.schedules import Schedule
from lightning_edge.metrics.domain_accuracy import DomainAccuracy
from lightning_edge.nn.dynamic.experts import in_domain
from lightning_edge.ops.names import distinct_keys


class Classification(EvaluatedMethod):
    """Train any net that maps images to scores of its classes, by cross-entropy.

    Logs ``{val,test}/accuracy``, the share of images whose class has the highest score, and ``{val,test}/loss``; where
    the data name domains, also ``{val,test}/accuracy_<domain>`` of those that have images.

    Args:
        net: Maps images ``[B, 3, H, W]`` in [0, 1] to scores ``[B, num_classes]``; has ``num_classes``.
        optimizer: Makes the optimizer of the parameters.
        schedule: Factor of the learning rate by the share of training done; ``PolynomialDecay()`` if ``None``.
        label_smoothing: Share of the target that is spread evenly over the classes in training, in [0, 1].
    """

    batch_type = ClassificationBatch
    labeled_thing = "image"
    domain_metrics = ("accuracy",)

    def __init__(
        self,
        net: nn.Module,
        optimizer: OptimizerCallable = AdamW,
        schedule: Schedule | None = None,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(optimizer, schedule)
        if not 0 <= label_smoothing <= 1:
            raise ValueError(f"expected label_smoothing within [0, 1], got {label_smoothing}")
        self.net = net
        self.num_classes: int = net.num_classes  # pyright: ignore
        self.label_smoothing = label_smoothing
        self.accuracy = MulticlassAccuracy(self.num_classes, average="micro", validate_args=False)
        self.mean_loss = MeanLoss()
        self.domain_accuracy: DomainAccuracy | None = None

    def setup(self, stage: str) -> None:
        """Take over what the data's classes and domains are called."""
        super().setup(stage)
        self.domain_accuracy = DomainAccuracy(len(self.domain_names)) if self.domain_names else None

    def forward(self, inputs: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch classes"]:
        """Scores (logits) of images in [0, 1]."""
        return self.net(inputs)

    def loss(self, batch: ClassificationBatch) -> Tensor:
        """Mean cross-entropy of the images."""
        return F.cross_entropy(self._logits(batch), batch["label"], label_smoothing=self.label_smoothing)

    def reset_scores(self) -> None:
        """Forget what was counted."""
        self.accuracy.reset()
        self.mean_loss.reset()
        if self.domain_accuracy is not None:
            self.domain_accuracy.reset()

    def validation_step(self, batch: ClassificationBatch, batch_idx: int) -> Float[Tensor, "batch classes"]:
        """Count right answers, and return the scores for callbacks."""
        scores, label = self._logits(batch), batch["label"]
        self.evidence.update(len(label), scores)
        self.accuracy.update(scores, label)
        self.mean_loss.update(F.cross_entropy(scores.float(), label), len(label))
        if self.domain_accuracy is not None and "domain" in batch:
            self.domain_accuracy.update(scores.argmax(1) == label, batch["domain"])
        return scores

    def scores(self) -> dict[str, Tensor]:
        """Accuracy and loss, and the accuracy in each domain that has images."""
        return {"accuracy": self.accuracy.compute(), "loss": self.mean_loss.compute()} | self._accuracy_by_domain()

    def predict_step(self, batch: FrameBatch, batch_idx: int) -> Int64[Tensor, " batch"]:
        """Class of each image."""
        return self._logits(batch).argmax(1)

    def _logits(self, batch: ClassificationBatch | FrameBatch) -> Float[Tensor, "batch classes"]:
        with in_domain(self.net, batch.get("domain_embedding")):
            return self(batch["image"])

    def _accuracy_by_domain(self) -> dict[str, Tensor]:
        if self.domain_accuracy is None:
            return {}
        keys = distinct_keys(self.domain_names, "domain")
        by_domain = zip(keys, self.domain_accuracy.compute(), strict=True)
        return {f"accuracy_{key}": value for key, value in by_domain if not value.isnan()}
