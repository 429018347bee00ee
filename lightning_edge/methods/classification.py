"""Classification of images."""

import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.optim import AdamW
from torchmetrics.classification import MulticlassAccuracy

from lightning_edge.checks import check_share
from lightning_edge.contracts import UNKNOWN_CLASS, ClassificationBatch, FrameBatch
from lightning_edge.methods.base import OptimizerCallable
from lightning_edge.methods.evaluated import EvaluatedMethod
from lightning_edge.methods.mean_loss import MeanLoss
from lightning_edge.methods.schedules import Schedule
from lightning_edge.metrics.domain_accuracy import DomainAccuracy
from lightning_edge.nn.conditioning import in_domain
from lightning_edge.ops.names import distinct_keys
from lightning_edge.ops.precision import at_least_float32


class Classification(EvaluatedMethod):
    """Train any net that maps images to logits of its classes, by cross-entropy.

    Logs ``{val,test}/accuracy``, the share of images whose true class has the highest logit, and ``{val,test}/loss``.
    If the data name domains, it also logs ``{val,test}/accuracy_<domain>`` for each domain that has images.

    Args:
        net: Net that maps images ``[B, 3, H, W]`` in [0, 1] to logits ``[B, num_classes]``. It must have the attribute
            ``num_classes``.
        optimizer: Function that makes the optimizer from the parameters.
        schedule: Function that maps the completed share of training to a factor of the learning rate. ``None`` means
            ``PolynomialDecay()``.
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
        check_share(label_smoothing=label_smoothing)
        self.net = net
        self.num_classes: int = net.num_classes  # pyright: ignore
        self.label_smoothing = label_smoothing
        self.accuracy = MulticlassAccuracy(self.num_classes, average="micro", validate_args=False)
        self.mean_loss = MeanLoss()
        self.domain_accuracy: DomainAccuracy | None = None

    def setup(self, stage: str) -> None:
        """Take the names of classes and domains from the data module."""
        super().setup(stage)
        self.domain_accuracy = DomainAccuracy(len(self.domain_names)) if self.domain_names else None

    def forward(self, inputs: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch classes"]:
        """Logits of images in [0, 1]."""
        return self.net(inputs)

    def loss(self, batch: ClassificationBatch) -> Tensor:
        """Mean cross-entropy over the images."""
        return F.cross_entropy(self._logits(batch), batch["label"], label_smoothing=self.label_smoothing)

    def reset_scores(self) -> None:
        """Reset all metrics."""
        self.accuracy.reset()
        self.mean_loss.reset()
        if self.domain_accuracy is not None:
            self.domain_accuracy.reset()

    def validation_step(
        self, batch: ClassificationBatch, batch_idx: int, dataloader_idx: int = 0
    ) -> Float[Tensor, "batch classes"]:
        """Count correct predictions where the class is known, and return the logits for callbacks."""
        logits = self._logits(batch)
        is_labeled = batch["label"] != UNKNOWN_CLASS
        label, scored = batch["label"][is_labeled], logits[is_labeled]
        self.evidence.update(len(label), logits)
        if len(label):
            self.accuracy.update(scored, label)
            self.mean_loss.update(F.cross_entropy(at_least_float32(scored), label), len(label))
        if self.domain_accuracy is not None and "domain" in batch:
            self.domain_accuracy.update(scored.argmax(1) == label, batch["domain"][is_labeled])
        return logits

    def scores(self) -> dict[str, Tensor]:
        """Accuracy and loss, and the accuracy in each domain that has images."""
        return {"accuracy": self.accuracy.compute(), "loss": self.mean_loss.compute()} | self._accuracy_by_domain()

    def predict_step(self, batch: FrameBatch, batch_idx: int) -> Int64[Tensor, " batch"]:
        """Predicted class of each image."""
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
