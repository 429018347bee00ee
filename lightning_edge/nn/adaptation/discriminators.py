"""Discriminators, which tell source from target."""

from jaxtyping import Float
from torch import Tensor, nn

from lightning_edge.checks import check_whole_at_least


class DomainDiscriminator(nn.Sequential):
    """Tells from the features of samples whether they come from the source: two hidden layers, as in DANN's code.

    Args:
        num_features: Number of features of a sample.
        hidden_size: Number of units of the hidden layers.
    """

    def __init__(self, num_features: int, hidden_size: int = 256) -> None:
        super().__init__(
            nn.Linear(num_features, hidden_size),
            nn.ReLU(),
            nn.Linear(hidden_size, hidden_size),
            nn.ReLU(),
            nn.Linear(hidden_size, 1),
        )

    def forward(self, features: Float[Tensor, "batch num_features"]) -> Float[Tensor, " batch"]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Logits of the source domain."""
        return super().forward(features)[:, 0]


class MapDiscriminator(nn.Sequential):
    """Tells for each patch of a map whether it comes from the source (AdaptSegNet, arXiv:1802.10349).

    Five convolutions of 4x4 with stride 2, with leaky ReLU between them, as in the paper. For small maps, the last ones
    are convolutions of 3x3 with stride 1.

    Args:
        num_channels: Number of channels of the map.
        base_channels: Number of channels of the first layer, which the next ones double.
        num_strides: Number of convolutions with stride 2, at most 5.

    Raises:
        ValueError: An argument is out of range. Later: a map has no place left after the strides.
    """

    def __init__(self, num_channels: int, base_channels: int = 64, num_strides: int = 5) -> None:
        check_whole_at_least(1, num_channels=num_channels, base_channels=base_channels)
        check_whole_at_least(0, num_strides=num_strides)
        if num_strides > 5:
            raise ValueError(f"expected num_strides of at most 5, got {num_strides}")
        layers: list[nn.Module] = []
        channels = num_channels
        for index in range(4):
            out_channels = base_channels * 2**index
            layers += [_convolution(channels, out_channels, index < num_strides), nn.LeakyReLU(0.2)]
            channels = out_channels
        super().__init__(*layers, _convolution(channels, 1, num_strides > 4))
        self.num_strides = num_strides

    def forward(self, maps: Float[Tensor, "batch num_channels height width"]) -> Float[Tensor, "batch rows columns"]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Logits of the source domain, for each patch."""
        side = 2**self.num_strides
        if min(maps.shape[-2:]) < side:
            raise ValueError(
                f"expected maps of at least {side}x{side} for num_strides of {self.num_strides}, got "
                f"{maps.shape[-2]}x{maps.shape[-1]}: use fewer strides"
            )
        return super().forward(maps)[:, 0]


def _convolution(in_channels: int, out_channels: int, is_strided: bool) -> nn.Conv2d:
    size = 4 if is_strided else 3
    return nn.Conv2d(in_channels, out_channels, size, stride=2 if is_strided else 1, padding=1)
