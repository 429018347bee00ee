"""Nets between features of samples and small images."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from lightning_edge.checks import check_whole_at_least

SIDE = 32
"""Height and width of the images, in pixels. It is that of the digits in the papers on DRCN and DSN."""
_SMALLEST = SIDE // 8
"""Height and width of the smallest maps."""


def thumbnails(image: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch 3 side side"]:
    """Images of any size, resized to 32x32."""
    if image.shape[-2:] == (SIDE, SIDE):
        return image
    return F.interpolate(image, (SIDE, SIDE), mode="bilinear", antialias=True)


class ImageEncoder(nn.Sequential):
    """Computes features of images of 32x32: three convolutions with stride 2, and a linear layer.

    Args:
        num_features: Number of features of an image.
        base_channels: Number of channels of the first layer, which the next ones double.

    Raises:
        ValueError: An argument is less than 1.
    """

    def __init__(self, num_features: int, base_channels: int = 16) -> None:
        check_whole_at_least(1, num_features=num_features, base_channels=base_channels)
        layers: list[nn.Module] = []
        channels = 3
        for out_channels in (base_channels, 2 * base_channels, 4 * base_channels):
            layers += [nn.Conv2d(channels, out_channels, 4, stride=2, padding=1), nn.ReLU()]
            channels = out_channels
        super().__init__(*layers, nn.Flatten(), nn.Linear(channels * _SMALLEST**2, num_features))

    def forward(self, image: Float[Tensor, "batch 3 32 32"]) -> Float[Tensor, "batch num_features"]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Features of images in [0, 1]."""
        return super().forward(image - 0.5)


class ImageDecoder(nn.Sequential):
    """Computes images of 32x32 from features of samples: a linear layer, and convolutions between enlargements.

    Args:
        num_features: Number of features of a sample.
        base_channels: Number of channels of the last but one layer; the layers before have two and four times as many.

    Raises:
        ValueError: An argument is less than 1.
    """

    def __init__(self, num_features: int, base_channels: int = 16) -> None:
        super().__init__(
            *enlarging_layers(num_features, base_channels), nn.Conv2d(base_channels, 3, 3, padding=1), nn.Sigmoid()
        )

    def forward(self, features: Float[Tensor, "batch num_features"]) -> Float[Tensor, "batch 3 32 32"]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Images in [0, 1]."""
        return super().forward(features)


def enlarging_layers(num_features: int, base_channels: int) -> list[nn.Module]:
    """Layers that compute maps ``[batch, base_channels, 32, 32]`` from features ``[batch, num_features]``.

    Args:
        num_features: Number of features of a sample.
        base_channels: Number of channels of the maps; the layers before have two and four times as many.

    Raises:
        ValueError: An argument is less than 1.
    """
    check_whole_at_least(1, num_features=num_features, base_channels=base_channels)
    channels = 4 * base_channels
    first = nn.Linear(num_features, channels * _SMALLEST**2)
    layers: list[nn.Module] = [first, nn.Unflatten(1, (channels, _SMALLEST, _SMALLEST)), nn.ReLU()]
    for out_channels in (2 * base_channels, base_channels, base_channels):
        layers += [nn.Upsample(scale_factor=2), nn.Conv2d(channels, out_channels, 3, padding=1), nn.ReLU()]
        channels = out_channels
    return layers
