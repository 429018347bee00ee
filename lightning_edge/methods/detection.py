"""Detection of objects in single images."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim import AdamW

from lightning_edge.contracts import DetectionBatch, Detections, Detector, FrameBatch
from lightning_edge.methods.base import OptimizerCallable
from lightning_edge.methods.evaluated import EvaluatedMethod
from lightning_edge.methods.schedules import Schedule
from lightning_edge.metrics.average_precision import (
    ScoredImage,
    ap50_by_domain,
    average_precision,
    class_keys,
    gather_images,
    scored_images,
)
from lightning_edge.nn.conditioning import in_domain
from lightning_edge.ops.names import distinct_keys


class Detection(EvaluatedMethod):
    """Train any detector; a net with experts also gets the domain of each image if the data provide it.

    Logs each term of the loss as ``train/<term>``, and COCO's average precision in [0, 1]. The precision is computed
    over all processes together, in pixels of the files, as the official evaluation of the data set computes it:
    ``{val,test}/ap``, ``ap50``, ``ap75``, ``ap_small``, ``ap_medium``, ``ap_large``; ``ar1``, ``ar10``, ``ar100``,
    ``ar_small``, ``ar_medium``, ``ar_large`` (average recall); ``ap_<class>``; and ``ap50_<domain>`` if the data name
    their domains. A score that is undefined, because no object counts for it, is not logged.

    Args:
        net: Detector with the attribute ``num_classes``, such as
            :class:`~lightning_edge.nn.detection.center_detector.CenterDetector`.
        optimizer: Function that makes the optimizer from the parameters.
        schedule: Function that maps the completed share of training to a factor of the learning rate. ``None`` means
            ``PolynomialDecay()``.

    Raises:
        ValueError: The net is not a detector.
    """

    batch_type = DetectionBatch
    labeled_thing = "object"
    domain_metrics = ("ap50",)

    def __init__(self, net: nn.Module, optimizer: OptimizerCallable = AdamW, schedule: Schedule | None = None) -> None:
        super().__init__(optimizer, schedule)
        if not isinstance(net, Detector):
            raise ValueError(f"expected a detector with losses() and detect(), got {type(net).__name__}")
        self.net = net
        self.num_classes: int = net.num_classes
        self._images: list[ScoredImage] = []

    def setup(self, stage: str) -> None:
        """Take the names of classes and domains from the data module."""
        super().setup(stage)
        class_keys(self._names_of_classes())

    def forward(self, inputs: Float[Tensor, "batch 3 height width"]) -> list[Detections]:
        """Detections in images in [0, 1]."""
        return self.net.detect(inputs)

    def loss(self, batch: DetectionBatch) -> Tensor:
        """Sum of the detector's loss terms."""
        with in_domain(self.net, batch.get("domain_embedding")):
            losses = self.net.losses(batch)
        for name, value in losses.items():
            self.log(f"train/{name}", value.detach(), batch_size=len(batch["image"]))
        return torch.stack(list(losses.values())).sum()

    def reset_scores(self) -> None:
        """Discard the collected detections."""
        self._images = []

    def validation_step(  # pyright: ignore[reportIncompatibleMethodOverride] (Lightning's type does not include lists)
        self, batch: DetectionBatch, batch_idx: int, dataloader_idx: int = 0
    ) -> list[Detections]:
        """Collect the detections, and return them for callbacks."""
        with in_domain(self.net, batch.get("domain_embedding")):
            detections = self(batch["image"])
        num_objects = sum(map(len, batch["label"]))
        self.evidence.update(num_objects, *(values for one in detections for values in (one.boxes_xyxy, one.score)))
        self._images += scored_images(batch, detections)
        return detections

    def scores(self) -> dict[str, float]:
        """Average precision over all processes, by class and by domain; the first process computes it."""
        images, self._images = gather_images(self._images), []
        # the other processes wait, since each would need as much time and memory
        scores = self._average_precision(images) if self.trainer.is_global_zero else {}
        return self.trainer.strategy.broadcast(scores)

    def predict_step(self, batch: FrameBatch, batch_idx: int, dataloader_idx: int = 0) -> list[Detections]:
        """Detections in each frame."""
        return self(batch["image"])

    def _average_precision(self, images: list[ScoredImage]) -> dict[str, float]:
        by_domain = ap50_by_domain(images, distinct_keys(self.domain_names, "domain"))
        of_all = average_precision(images, self._names_of_classes())
        return of_all | {f"ap50_{key}": value for key, value in by_domain.items()}
