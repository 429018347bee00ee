"""Detection of objects in single images."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim import AdamW

from lightning_edge.contracts import DetectionBatch, Detections, Detector, FrameBatch
from lightning_edge.methods.average_precision import (
    ScoredImage,
    ap50_by_domain,
    average_precision,
    gather_images,
    scored_images,
)
from lightning_edge.methods.base import Method, OptimizerCallable
from lightning_edge.methods.domain_names import domain_keys
from lightning_edge.methods.schedules import Schedule
from lightning_edge.nn.dynamic import in_domain


class Detection(Method):
    """Train any detector; a net with experts is told the domain of each image, where the data know it.

    Logs each term of the loss as ``train/<term>``, and COCO's average precision in pixels of the files, in [0, 1], of
    all processes together: ``{val,test}/ap``, ``ap50``, ``ap75``, ``ap_small``, ``ap_medium``, ``ap_large``,
    ``ap_<class>``, and ``ap50_<domain>`` where the data name their domains. What no object defines is not logged, but
    for ``ap`` and ``ap50``, which are 0 then.

    Args:
        net: A detector, such as :class:`~lightning_edge.nn.center_detector.CenterDetector`; has ``num_classes``.
        optimizer: Makes the optimiser of the parameters.
        schedule: Factor of the learning rate by the share of training done; ``PolynomialDecay()`` if ``None``.

    Raises:
        ValueError: The net is no detector.
    """

    batch_type = DetectionBatch

    def __init__(self, net: nn.Module, optimizer: OptimizerCallable = AdamW, schedule: Schedule | None = None) -> None:
        super().__init__(optimizer, schedule)
        if not isinstance(net, Detector):
            raise ValueError(f"expected a detector with losses() and detect(), got {type(net).__name__}")
        self.net = net
        self.num_classes: int = net.num_classes
        self._images: list[ScoredImage] = []

    def setup(self, stage: str) -> None:
        """Take over what the data's classes and domains are called."""
        super().setup(stage)
        domain_keys(self.domain_names)  # names that cannot be told apart show before training

    def forward(self, inputs: Float[Tensor, "batch 3 height width"]) -> list[Detections]:
        """What is found in images in [0, 1]."""
        return self.net.detect(inputs)

    def loss(self, batch: DetectionBatch) -> Tensor:
        """Sum of the detector's losses."""
        with in_domain(self.net, batch.get("domain_embedding")):
            losses = self.net.losses(batch)
        for name, value in losses.items():
            self.log(f"train/{name}", value.detach(), batch_size=len(batch["image"]))
        return torch.stack(list(losses.values())).sum()

    def on_validation_epoch_start(self) -> None:
        """Forget what an interrupted evaluation found."""
        self._images = []

    def validation_step(  # pyright: ignore[reportIncompatibleMethodOverride] (Lightning's own type leaves lists out)
        self, batch: DetectionBatch, batch_idx: int
    ) -> list[Detections]:
        """Keep what is found, and return it for callbacks."""
        with in_domain(self.net, batch.get("domain_embedding")):
            found = self(batch["image"])
        self._images += scored_images(batch, found)
        return found

    def on_validation_epoch_end(self) -> None:
        """Log the scores of the validation data."""
        self._log_scores("val")

    def on_test_epoch_start(self) -> None:
        """Forget what an interrupted evaluation found."""
        self._images = []

    def test_step(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, batch: DetectionBatch, batch_idx: int
    ) -> list[Detections]:
        """Keep what is found, and return it for callbacks."""
        return self.validation_step(batch, batch_idx)

    def on_test_epoch_end(self) -> None:
        """Log the scores of the test data."""
        self._log_scores("test")

    def predict_step(self, batch: FrameBatch, batch_idx: int) -> list[Detections]:
        """What is found in each frame."""
        return self(batch["image"])

    def _log_scores(self, stage: str) -> None:
        images, self._images = gather_images(self._images), []
        # the first process does it for all: each would need as long and as much memory
        scores = self._scores(images) if self.trainer.is_global_zero else {}
        scores = self.trainer.strategy.broadcast(scores)
        self.log_dict({f"{stage}/{name}": value for name, value in scores.items()})

    def _scores(self, images: list[ScoredImage]) -> dict[str, Any]:
        names = self.class_names or tuple(map(str, range(self.num_classes)))
        keys = domain_keys(self.domain_names)
        by_domain = {f"ap50_{key}": value for key, value in ap50_by_domain(images, keys).items()}
        return {"ap": 0.0, "ap50": 0.0} | average_precision(images, names) | by_domain
