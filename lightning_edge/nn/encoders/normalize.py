"""Normalization of images as a layer of the net that wants it."""

import torch
from jaxtyping import Float
from timm.data.config import resolve_model_data_config
from torch import Tensor, nn


class Normalize(nn.Module):
    """Subtract a mean and divide by a deviation per channel: ``(image - mean) / std``.

    A layer and not a step of the data pipeline, so that nets with different statistics share one batch and an exported
    net takes plain images in [0, 1].
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1), persistent=False)

    @classmethod
    def of_timm(cls, model: nn.Module) -> "Normalize":
        """The statistics that a timm model was (or would be) trained with."""
        config = resolve_model_data_config(model)
        return cls(config["mean"], config["std"])

    def forward(self, image: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch channels h w"]:
        """Return the normalized image.

        Raises:
            ValueError: The image is of whole numbers, as bytes are.
        """
        if not image.is_floating_point():
            raise ValueError(f"expected an image of floats in [0, 1], got {image.dtype}: divide bytes by 255")
        return (image - self.mean) / self.std
