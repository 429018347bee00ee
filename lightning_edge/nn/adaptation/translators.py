"""Nets that change the domain of images."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from lightning_edge.checks import check_whole_at_least

_MARGIN = 0.02
"""Distance to 0 and 1 up to which pixels are translated. The logits beyond would hardly change."""


class ImageTranslator(nn.Module):
    """Changes the appearance of images of any size.

    A small variant of the generator of CycleGAN (arXiv:1703.10593): residual blocks with instance norm, at half the
    size of the images. A last convolution, which sees the images too, changes the logits of the pixels. It starts at 0,
    so that the translator starts as the identity, up to 0.02, and what is where in an image remains from the first step
    on.

    Args:
        base_channels: Number of channels.
        num_blocks: Number of residual blocks.

    Raises:
        ValueError: An argument is less than 1.
    """

    def __init__(self, base_channels: int = 16, num_blocks: int = 2) -> None:
        super().__init__()
        check_whole_at_least(1, base_channels=base_channels, num_blocks=num_blocks)
        self.first = nn.Conv2d(3, base_channels, 4, stride=2, padding=1)
        self.blocks = nn.ModuleList(_residual_block(base_channels) for _ in range(num_blocks))
        self.last = nn.Conv2d(base_channels + 3, 3, 3, padding=1)
        for parameter in self.last.parameters():
            nn.init.zeros_(parameter)

    def forward(self, image: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch 3 height width"]:
        """Translations of images in [0, 1]."""
        features = self.first(image - 0.5).relu()
        for block in self.blocks:
            features = features + block(features)
        changes = self.last(torch.cat([F.interpolate(features, image.shape[-2:]), image - 0.5], 1))
        return (torch.logit(image, eps=_MARGIN) + changes).sigmoid().to(image.dtype)


def _residual_block(channels: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(channels, channels, 3, padding=1),
        nn.InstanceNorm2d(channels, affine=True),
        nn.ReLU(),
        nn.Conv2d(channels, channels, 3, padding=1),
    )
