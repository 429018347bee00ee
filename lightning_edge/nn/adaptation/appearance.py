"""Random changes of the colors of images, which keep everything in its place."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lightning_edge.checks import check_at_least


class RandomAppearance(nn.Module):
    """Changes contrast, brightness and color of each image, and hides a patch of it.

    Nothing moves, so labels of pixels stay valid. It is the strong augmentation of self-training, in the manner of
    FixMatch (arXiv:2001.07685), with operations that are fast on batches.

    Args:
        contrast: Largest relative change of the contrast of each channel, in [0, 1].
        brightness: Largest shift of the values of each channel, where images are in [0, 1].
        inversion: Share of images whose values are inverted.
        shuffled_channels: Whether the color channels are exchanged at random.
        patch: Side of the hidden patch as a share of the side of the image; 0 hides nothing.

    Raises:
        ValueError: An argument is out of range.
    """

    def __init__(
        self,
        contrast: float = 0.5,
        brightness: float = 0.25,
        inversion: float = 0.0,
        shuffled_channels: bool = False,
        patch: float = 0.25,
    ) -> None:
        super().__init__()
        check_at_least(0, contrast=contrast, brightness=brightness, inversion=inversion, patch=patch)
        for name, value in (("contrast", contrast), ("inversion", inversion), ("patch", patch)):
            if value > 1:
                raise ValueError(f"expected {name} of at most 1, got {value}")
        self.contrast = contrast
        self.brightness = brightness
        self.inversion = inversion
        self.shuffled_channels = shuffled_channels
        self.patch = patch

    def forward(
        self, image: Float[Tensor, "batch *time 3 height width"], generator: torch.Generator | None = None
    ) -> Float[Tensor, "batch *time 3 height width"]:
        """Changed images in [0, 1]. All frames of a clip are changed in the same way.

        Args:
            image: Images in [0, 1].
            generator: Random numbers on the CPU; those of torch by default.
        """
        batch, axes = len(image), (1,) * (image.ndim - 4)

        def draw(channels: int) -> Tensor:
            numbers = torch.rand(batch, *axes, channels, 1, 1, generator=generator)
            return numbers.to(image)

        image = torch.where(draw(1) < self.inversion, 1 - image, image)
        if self.shuffled_channels:
            image = image.gather(-3, draw(3).argsort(-3).expand_as(image))
        gain = 1 + self.contrast * (2 * draw(3) - 1)
        shift = self.brightness * (2 * draw(3) - 1)
        image = ((image - 0.5) * gain + 0.5 + shift).clamp(0, 1)
        return torch.where(self._patch(image, draw), 0.5, image) if self.patch else image

    def _patch(self, image: Tensor, draw) -> Tensor:
        height, width = image.shape[-2:]
        # centers of pixels, because the first row and column would never be hidden otherwise
        rows = (torch.arange(height, device=image.device)[:, None] + 0.5) / height
        columns = (torch.arange(width, device=image.device) + 0.5) / width
        top, left = ((1 - self.patch) * draw(1) for _ in range(2))
        return (rows >= top) & (rows < top + self.patch) & (columns >= left) & (columns < left + self.patch)
