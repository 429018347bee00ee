"""A method from outside the library."""

import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import AdamW

from lightning_edge.contracts import SegmentationBatch
from lightning_edge.methods import Method, OptimizerCallable, Schedule


class SoftSegmentation(Method):
    """Segmentation with smoothed labels."""

    batch_type = SegmentationBatch

    def __init__(
        self,
        net: nn.Module,
        smoothing: float = 0.1,
        optimizer: OptimizerCallable = AdamW,
        schedule: Schedule | None = None,
    ) -> None:
        super().__init__(optimizer, schedule)
        self.net = net
        self.num_classes = net.num_classes
        self.smoothing = smoothing

    def forward(self, inputs: Tensor) -> Tensor:
        return self.net(inputs)

    def loss(self, batch: SegmentationBatch) -> Tensor:
        logits = self(batch["image"])
        return F.cross_entropy(logits, batch["mask"], ignore_index=255, label_smoothing=self.smoothing)

    def validation_step(self, batch: SegmentationBatch, batch_idx: int) -> None:
        self.log("val/loss", self.loss(batch), batch_size=len(batch["image"]))

    def test_step(self, batch: SegmentationBatch, batch_idx: int) -> None:
        self.log("test/loss", self.loss(batch), batch_size=len(batch["image"]))
