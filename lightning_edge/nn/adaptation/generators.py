"""Nets that make images of two domains from noise."""

from jaxtyping import Float
from torch import Tensor, nn

from lightning_edge.nn.adaptation.autoencoders import enlarging_layers

Images = Float[Tensor, "batch 3 32 32"]


class CoupledGenerators(nn.Module):
    """Make a source image and a target image of 32x32 from the same noise (CoGAN, arXiv:1606.07536).

    All layers but the last are shared, so both images show the same thing, each in its domain.

    Args:
        num_inputs: Number of random values of a pair of images.
        base_channels: Number of channels of the last shared layer.

    Raises:
        ValueError: An argument is less than 1.
    """

    def __init__(self, num_inputs: int = 64, base_channels: int = 16) -> None:
        super().__init__()
        self.num_inputs = num_inputs
        self.shared = nn.Sequential(*enlarging_layers(num_inputs, base_channels))
        self.source, self.target = (nn.Conv2d(base_channels, 3, 3, padding=1) for _ in range(2))

    def forward(self, noise: Float[Tensor, "batch num_inputs"]) -> tuple[Images, Images]:
        """Images of source and target in [0, 1]."""
        maps = self.shared(noise)
        return self.source(maps).sigmoid(), self.target(maps).sigmoid()
