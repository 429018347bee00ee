"""A small net for images of digits that trains in minutes on a CPU."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lightning_edge.checks import check_whole_at_least

_POOLED_SIZE = 4


class DigitNet(nn.Module):
    """Five convolutions with batch norm and a hidden layer, for images of about 32x32 pixels.

    Each image is standardized, channel by channel, which removes some of the difference between domains before any
    training, as in the nets of VADA (arXiv:1802.08735).

    Args:
        num_classes: Number of classes.
        width: Number of channels of the first convolution. The next two pairs have two and four times as many.
        num_features: Number of units of the hidden layer ``features``, whose outputs are the input of ``classifier``.
    """

    def __init__(self, num_classes: int, width: int = 16, num_features: int = 128) -> None:
        super().__init__()
        check_whole_at_least(1, num_classes=num_classes, width=width, num_features=num_features)
        self.num_classes = num_classes
        self.convolutions = nn.Sequential(
            nn.InstanceNorm2d(3),
            *_convolution(3, width, size=5, stride=2),
            *_convolution(width, 2 * width),
            *_convolution(2 * width, 2 * width),
            nn.MaxPool2d(2),
            *_convolution(2 * width, 4 * width),
            *_convolution(4 * width, 4 * width),
            nn.AdaptiveMaxPool2d(_POOLED_SIZE),
        )
        self.features = nn.Sequential(nn.Flatten(), nn.Linear(4 * width * _POOLED_SIZE**2, num_features), nn.ReLU())
        self.classifier = nn.Linear(num_features, num_classes)
        self.convolutions.to(memory_format=torch.channels_last)  # faster on CPUs

    def forward(self, image: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch classes"]:
        """Class logits of images in [0, 1]."""
        return self.classifier(self.features(self.convolutions(image)))


def _convolution(in_channels: int, out_channels: int, size: int = 3, stride: int = 1) -> tuple[nn.Module, ...]:
    convolution = nn.Conv2d(in_channels, out_channels, size, stride, padding=size // 2, bias=False)
    return convolution, nn.BatchNorm2d(out_channels), nn.ReLU()
