"""A segmentation net in two parts, between which a video net can warp the features."""

from abc import ABC, abstractmethod

from jaxtyping import Float
from torch import Tensor, nn

from lightning_edge.ops.resize import resize_logits


class SegmentationBranch(nn.Module, ABC):
    """A segmentation net whose features can be propagated from frame to frame before its head reads them.

    To use your own net, write a subclass that sets ``num_classes``, ``feature_channels`` and ``head``, which maps
    features to logits, and implements ``features``. :class:`~lightning_edge.nn.segmentation.wrapped.WrappedBranch` does
    this for nets that end with their head.
    """

    num_classes: int
    feature_channels: int
    head: nn.Module

    @abstractmethod
    def features(self, image: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch channels h w"]:
        """Features of images in [0, 1], at a fraction of their size."""

    def forward(self, image: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch classes height width"]:
        """Class logits at the size of the images."""
        return resize_logits(self.head(self.features(image)), image)
