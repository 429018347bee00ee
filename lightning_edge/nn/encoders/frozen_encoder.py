"""Frozen encoders, by whose features domains are told apart."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lightning_edge.nn.encoders.image_statistics import ImageStatistics
from lightning_edge.nn.encoders.normalize import Normalize
from lightning_edge.nn.encoders.timm_models import load_timm_classifier, make_timm_model

_CONSTANT = 1e-6
"""Deviation below which a feature is alike in all images."""


class TimmEncoder(nn.Module):
    """Pooled features of a net of timm, as arXiv:1911.13237 takes those of a ResNet-50 trained on ImageNet.

    Args:
        model: Name in timm.
        weights: File of weights in timm's format; ``None`` leaves it at random ones, which still tell light from dark.

    Raises:
        ValueError: timm has no such model, or ``weights`` lacks some.
        FileNotFoundError: There is no file ``weights``.
    """

    def __init__(self, model: str = "resnet50", weights: str | None = None) -> None:
        super().__init__()
        self.model = model
        if weights is None:
            self.net = make_timm_model("model", model, {"num_classes": 0})
        else:
            self.net = load_timm_classifier("model", model, weights, 0, {})
        self.normalize = Normalize.of_timm(self.net)

    def forward(self, image: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch features"]:
        """Features of images in [0, 1]."""
        return self.net(self.normalize(image))


class FrozenEncoder(nn.Module):
    """An encoder whose features are standardized: mean 0 and deviation 1 over the images that it was shown.

    Args:
        encoder: Maps images ``[B, 3, H, W]`` in [0, 1] to features ``[B, features]``, whose scale is left as it is
            until :meth:`standardize`.
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
        """A model of timm by its name, or, without a name, plain statistics of light and color."""
        return cls(ImageStatistics() if model is None else TimmEncoder(model, weights))

    def standardize(self, features: Float[Tensor, "images features"]) -> None:
        """Take mean and deviation of the features that this encoder found in some images, those of training."""
        mean, std = features.mean(0), features.std(0, correction=0)
        std[std < _CONSTANT] = 1  # what is alike in all training images tells nothing of others
        self.mean, self.std = self.mean + mean * self.std, self.std * std

    def scaled(self, features: Float[Tensor, "images features"]) -> Float[Tensor, "images features"]:
        """Standardize features of the bare encoder."""
        return (features - self.mean) / self.std

    def train(self, mode: bool = True) -> "FrozenEncoder":
        """Stay as in evaluation: what is frozen notes no statistics."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, image: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch features"]:
        """Features of images in [0, 1]."""
        return self.scaled(self.encoder(image))
