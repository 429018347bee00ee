"""What light and weather do to an image, as a few numbers that cost next to nothing."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class ImageStatistics(nn.Module):
    """Mean and deviation of each color in each cell of a grid, and how much neighboring pixels differ there.

    A frozen encoder that needs no weights, for telling domains apart where no pretrained one is at hand.

    Args:
        grid: Cells each way, rows and columns.
    """

    def __init__(self, grid: tuple[int, int] = (2, 2)) -> None:
        super().__init__()
        if min(grid) < 1:
            raise ValueError(f"expected grid of at least one cell each way, got {grid}")
        self.grid = grid
        self.num_features = 8 * grid[0] * grid[1]

    def forward(self, image: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch features"]:
        """Statistics of images in [0, 1]."""
        mean = F.adaptive_avg_pool2d(image, self.grid)
        square = F.adaptive_avg_pool2d(image**2, self.grid)
        deviation = (square - mean**2).clamp(min=0).sqrt()
        grey = image.mean(1, keepdim=True)
        steps = (grey.diff(dim=axis).abs() for axis in (2, 3))
        roughness = [F.adaptive_avg_pool2d(step, self.grid) for step in steps]
        return torch.cat([mean, deviation, *roughness], 1).flatten(1)
