"""Frozen encoders that tell domains apart."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lightning_edge.nn.image_statistics import ImageStatistics
from lightning_edge.nn.normalize import Normalize
from lightning_edge.nn.timm_models import load_timm_classifier, make_timm_model


class TimmEncoder(nn.Module):
    """Pooled features of a net of timm, as arXiv:1911.13237 takes those of a ResNet-50 trained on ImageNet.

    Args:
        model: Name in timm.
        weights: File of weights in timm's format; ``None`` leaves it at random ones, which still tell light from dark.
    """

    def __init__(self, model: str = "resnet50", weights: str | None = None) -> None:
        super().__init__()
        if weights is None:
            self.net = make_timm_model("model", model, {"num_classes": 0})
        else:
            self.net = load_timm_classifier("model", model, weights, 0, {})
        self.normalize = Normalize.of_timm(self.net)

    def forward(self, image: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch features"]:
        """Features of images in [0, 1]."""
        return self.net(self.normalize(image))


class FrozenEncoder(nn.Module):
    """An encoder with its features standardised: mean 0 and deviation 1 over the images that it was shown.

    Args:
        encoder: Maps images ``[B, 3, H, W]`` in [0, 1] to features ``[B, features]``; ``ImageStatistics()`` if
            ``None``.
        mean: Subtracted from its features; 0 if ``None``.
        std: By which the rest is divided; 1 if ``None``.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, encoder: nn.Module | None = None, mean: Tensor | None = None, std: Tensor | None = None) -> None:
        super().__init__()
        self.encoder = (ImageStatistics() if encoder is None else encoder).eval().requires_grad_(False)
        self.register_buffer("mean", torch.zeros(()) if mean is None else mean)
        self.register_buffer("std", torch.ones(()) if std is None else std)

    @torch.no_grad()
    def forward(self, image: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch features"]:
        """Standardised features of images in [0, 1]."""
        return (self.encoder(image) - self.mean) / self.std

    def standardise(self, features: Float[Tensor, "images features"]) -> None:
        """Take mean and deviation of the features of some images, those of training."""
        self.mean, self.std = features.mean(0), features.std(0, correction=0).clamp(min=1e-6)
