"""A small net for images of digits that trains in minutes on a CPU."""

from jaxtyping import Float
from torch import Tensor, nn

from lightning_edge.checks import check_whole_at_least

_POOLED_SIZE = 4


class DigitNet(nn.Module):
    """Three convolutions and a hidden layer, without normalization, for images of about 32x32 pixels.

    It has the size of the nets in the literature on adaptation between digits (arXiv:1505.07818), with strides in place
    of poolings.

    Args:
        num_classes: Number of classes.
        width: Number of channels of the first convolution, which the next two double.
        num_features: Number of units of the hidden layer ``features``, whose outputs are the input of ``classifier``.
    """

    def __init__(self, num_classes: int, width: int = 24, num_features: int = 128) -> None:
        super().__init__()
        check_whole_at_least(1, num_classes=num_classes, width=width, num_features=num_features)
        self.num_classes = num_classes
        self.convolutions = nn.Sequential(
            nn.Conv2d(3, width, 5, stride=2, padding=2),
            nn.ReLU(),
            nn.Conv2d(width, 2 * width, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(2 * width, 4 * width, 3, padding=1),
            nn.ReLU(),
            nn.AdaptiveMaxPool2d(_POOLED_SIZE),
        )
        self.features = nn.Sequential(nn.Flatten(), nn.Linear(4 * width * _POOLED_SIZE**2, num_features), nn.ReLU())
        self.classifier = nn.Linear(num_features, num_classes)

    def forward(self, image: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch classes"]:
        """Class logits of images in [0, 1]."""
        return self.classifier(self.features(self.convolutions(2 * image - 1)))
