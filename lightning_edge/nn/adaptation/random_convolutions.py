"""Random convolutions, which change colors and texture of images but keep shapes."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from lightning_edge.checks import check_share


class RandomConvolutions(nn.Module):
    """Blends each image with the output of a convolution whose weights are random (arXiv:2007.13003).

    Shapes remain, while colors, contrast and texture change, so a net must learn from shapes. One kernel size is drawn
    for a batch, and weights and the share of the blend for each image; the paper draws weights for the whole batch.
    Nothing moves, so labels of pixels stay valid.

    Args:
        sizes: Sides of the kernels in pixels, odd, of which one is drawn.
        share: Share of the images that are changed.

    Raises:
        ValueError: An argument is out of range.
    """

    def __init__(self, sizes: Sequence[int] = (1, 3, 5, 7), share: float = 1.0) -> None:
        super().__init__()
        if not sizes or any(size < 1 or size % 2 == 0 for size in sizes):
            raise ValueError(f"expected sizes with odd numbers of at least 1, got {list(sizes)}")
        check_share(share=share)
        self.sizes = tuple(sizes)
        self.share = share

    def forward(
        self, image: Float[Tensor, "batch *time 3 height width"], generator: torch.Generator | None = None
    ) -> Float[Tensor, "batch *time 3 height width"]:
        """Changed images, whose values may leave [0, 1]. All frames of a clip are changed in the same way.

        Args:
            image: Images in [0, 1].
            generator: Random numbers on the CPU; those of torch by default.
        """
        batch, channels = len(image), image.shape[-3]
        size = self.sizes[int(torch.randint(len(self.sizes), (), generator=generator))]
        weights = torch.randn(batch, channels, channels, size, size, generator=generator)
        weights /= (channels * size**2) ** 0.5  # the output varies as much as the input
        original_part = torch.rand(batch, generator=generator)
        original_part[torch.rand(batch, generator=generator) >= self.share] = 1
        original_part = original_part.to(image).view(batch, *(1,) * (image.ndim - 1))
        centered = image - 0.5
        return 0.5 + original_part * centered + (1 - original_part) * _convolve(centered, weights.to(image))


def _convolve(image: Tensor, weights: Tensor) -> Tensor:
    """Each image, or all frames of each clip, convolved with weights of its own, in one grouped convolution."""
    clips = image.unsqueeze(1) if image.ndim == 4 else image
    as_channels = clips.transpose(0, 1).flatten(1, 2)  # [time, batch * channels, height, width]
    margin = weights.shape[-1] // 2
    padded = F.pad(as_channels, (margin,) * 4, mode="replicate")
    convolved = F.conv2d(padded, weights.flatten(0, 1), groups=len(weights))
    return convolved.unflatten(1, clips.shape[0:1] + clips.shape[2:3]).transpose(0, 1).reshape(image.shape)
