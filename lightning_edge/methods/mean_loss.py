"""Mean of a loss over all images."""

import torch
from jaxtyping import Float
from torch import Tensor
from torchmetrics import Metric
from typing_extensions import override


class MeanLoss(Metric):
    """Mean over the images of all batches and processes; NaN if the loss of a batch is NaN.

    torchmetrics' ``MeanMetric`` skips such batches by default. With the option that keeps them, it gives batches of
    different sizes the same weight (https://github.com/Lightning-AI/torchmetrics/issues/3434).
    """

    is_differentiable = False
    higher_is_better = False
    full_state_update = False
    total: Tensor
    num_images: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", torch.tensor(0.0), dist_reduce_fx="sum")
        self.add_state("num_images", torch.tensor(0), dist_reduce_fx="sum")

    @override
    def update(self, mean: Float[Tensor, ""], num_images: int) -> None:
        """Count the mean loss of some images."""
        self.total += num_images * mean
        self.num_images += num_images

    @override
    def compute(self) -> Float[Tensor, ""]:
        """Mean of all images."""
        return self.total / self.num_images
