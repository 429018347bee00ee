"""A few cheap statistics of an image that depend on light and weather."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class ImageStatistics(nn.Module):
    """Mean and standard deviation of each color in each cell of a grid, and differences between neighboring pixels.

    This is a frozen encoder without weights. It distinguishes domains where no pretrained encoder is available.

    Args:
        grid: Numbers of rows and columns of the grid.
    """

    def __init__(self, grid: tuple[int, int] = (2, 2)) -> None:
        super().__init__()
        if min(grid) < 1:
            raise ValueError(f"expected grid of at least (1, 1), got {grid}")
        self.grid = grid
        self.num_features = 8 * grid[0] * grid[1]

    def forward(self, image: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch features"]:
        """Statistics of images in [0, 1]."""
        mean = F.adaptive_avg_pool2d(image, self.grid)
        square = F.adaptive_avg_pool2d(image**2, self.grid)
        deviation = (square - mean**2).clamp(min=0).sqrt()
        gray = image.mean(1, keepdim=True)
        steps = (gray.diff(dim=axis).abs() for axis in (2, 3))
        roughness = [F.adaptive_avg_pool2d(step, self.grid) for step in steps]
        return torch.cat([mean, deviation, *roughness], 1).flatten(1)
