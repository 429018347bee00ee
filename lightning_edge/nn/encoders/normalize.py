"""Normalization of images as a layer of the net that needs it."""

import torch
from jaxtyping import Float
from timm.data.config import resolve_model_data_config
from torch import Tensor, nn


class Normalize(nn.Module):
    """Subtracts a mean and divides by a standard deviation for each channel: ``(image - mean) / std``.

    This is a layer and not a step of the data pipeline. So nets with different statistics can share one batch, and an
    exported net takes images in [0, 1].
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1), persistent=False)

    @classmethod
    def from_timm(cls, model: nn.Module) -> "Normalize":
        """Normalization with the statistics that a timm model was (or would be) trained with."""
        config = resolve_model_data_config(model)
        return cls(config["mean"], config["std"])

    def forward(self, image: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch channels h w"]:
        """Normalized image.

        Raises:
            ValueError: The image has integer values, such as bytes.
        """
        if not image.is_floating_point():
            raise ValueError(f"expected an image of floats in [0, 1], got {image.dtype}: divide bytes by 255")
        return (image - self.mean) / self.std
