"""Frozen encoders, whose features distinguish domains."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lightning_edge.nn.encoders.image_statistics import ImageStatistics
from lightning_edge.nn.encoders.normalize import Normalize
from lightning_edge.nn.encoders.timm_models import load_timm_classifier, make_timm_model

_CONSTANT = 1e-6
"""Standard deviation below which a feature counts as constant over all images."""


class TimmEncoder(nn.Module):
    """Pooled features of a timm model. arXiv:1911.13237 uses those of a ResNet-50 trained on ImageNet.

    Args:
        model: Name of a timm model.
        weights: Path of a file of weights in timm's format. ``None`` uses random weights, whose features still
            distinguish light images from dark ones.

    Raises:
        ValueError: timm has no such model, or ``weights`` lacks parameters.
        FileNotFoundError: The file ``weights`` does not exist.
    """

    def __init__(self, model: str = "resnet50", weights: str | None = None) -> None:
        super().__init__()
        self.model = model
        if weights is None:
            self.net = make_timm_model("model", model, {"num_classes": 0})
        else:
            self.net = load_timm_classifier("model", model, weights, 0, {})
        self.normalize = Normalize.from_timm(self.net)

    def forward(self, image: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch features"]:
        """Features of images in [0, 1]."""
        return self.net(self.normalize(image))


class FrozenEncoder(nn.Module):
    """An encoder with standardized features: mean 0 and standard deviation 1 over a given set of images.

    Args:
        encoder: Maps images ``[B, 3, H, W]`` in [0, 1] to features ``[B, features]``. The features are not scaled
            before :meth:`standardize` is called.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder.requires_grad_(False).eval()
        self.register_buffer("mean", torch.zeros(1), persistent=False)
        self.register_buffer("std", torch.ones(1), persistent=False)

    @classmethod
    def from_timm(cls, model: str | None = None, weights: str | None = None) -> "FrozenEncoder":
        """A timm model by its name or, without a name, plain statistics of light and color."""
        return cls(ImageStatistics() if model is None else TimmEncoder(model, weights))

    def standardize(self, features: Float[Tensor, "images features"]) -> None:
        """Set the mean and standard deviation from features of this encoder, usually those of the training images."""
        mean, std = features.mean(0), features.std(0, correction=0)
        std[std < _CONSTANT] = 1  # a feature that is constant over the training images is not scaled
        self.mean, self.std = self.mean + mean * self.std, self.std * std

    def scaled(self, features: Float[Tensor, "images features"]) -> Float[Tensor, "images features"]:
        """Standardize features of the bare encoder."""
        return (features - self.mean) / self.std

    def train(self, mode: bool = True) -> "FrozenEncoder":
        """Stay in evaluation mode: a frozen encoder must not update batch norm statistics."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, image: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch features"]:
        """Features of images in [0, 1]."""
        return self.scaled(self.encoder(image))
