"""Accuracy in each domain."""

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torchmetrics import Metric
from typing_extensions import override


class DomainAccuracy(Metric):
    """Share of correct predictions in each domain, over all processes; NaN for a domain without images.

    Args:
        num_domains: Number of domains.
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    num_right: Tensor
    num_images: Tensor

    def __init__(self, num_domains: int) -> None:
        super().__init__()
        self.num_domains = num_domains
        for name in ("num_right", "num_images"):
            self.add_state(name, torch.zeros(num_domains, dtype=torch.long), dist_reduce_fx="sum")

    @override
    def update(self, is_right: Bool[Tensor, " batch"], domain: Int64[Tensor, " batch"]) -> None:
        """Count the images and the correct predictions of a batch."""
        self.num_right += torch.bincount(domain[is_right], minlength=self.num_domains)
        self.num_images += torch.bincount(domain, minlength=self.num_domains)

    @override
    def compute(self) -> Float[Tensor, " domains"]:
        """Accuracy of each domain."""
        return self.num_right / self.num_images
