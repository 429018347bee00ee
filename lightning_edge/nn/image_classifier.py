"""What timm asks of a classifier, for all nets of this library that it knows by name."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from jaxtyping import Float
from timm.models._builder import build_model_with_cfg
from torch import Tensor, nn


class ImageClassifier(nn.Module, ABC):
    """Features that keep the picture, and a head that pools them and has a linear layer ``fc`` as its last.

    The last statements of a constructor are ``self.fc = self.make_classifier()`` and what initializes the weights.

    Args:
        num_features: Channels of the features.
        head_hidden_size: Values that the last layer sees.
        num_classes: Classes; 0 leaves the last layer out.
        in_chans: Channels of the image.
        global_pool: ``avg``, or an empty string, by which a net without a last layer gives the features themselves.

    Raises:
        ValueError: ``global_pool`` is another one.
    """

    fc: nn.Module
    feature_info: list[dict[str, Any]]
    """Channels, pixels of the image to a cell, and module of each map that ``features_only`` gives."""

    def __init__(
        self, num_features: int, head_hidden_size: int, num_classes: int, in_chans: int, global_pool: str
    ) -> None:
        super().__init__()
        self.num_features, self.head_hidden_size = num_features, head_hidden_size
        self.num_classes, self.in_chans, self.global_pool = num_classes, in_chans, global_pool

    @abstractmethod
    def forward_features(
        self, image: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch num_features h w"]:
        """Features of a normalized image."""

    @abstractmethod
    def pool(self, features: Float[Tensor, "batch num_features h w"]) -> Float[Tensor, "batch head_hidden_size"]:
        """What the last layer sees of the features."""

    def forward_head(self, features: Float[Tensor, "batch num_features h w"], pre_logits: bool = False) -> Tensor:
        """Scores of the classes ``[B, classes]``, or before the last layer ``[B, head_hidden_size]``."""
        pooled = self.pool(features) if self.global_pool or self.num_classes else features
        return pooled if pre_logits else self.fc(pooled)

    def forward(self, image: Float[Tensor, "batch channels height width"]) -> Tensor:
        """Scores of the classes, of a normalized image."""
        return self.forward_head(self.forward_features(image))

    def make_classifier(self) -> nn.Module:
        """The last layer, with new weights."""
        if self.global_pool not in ("avg", ""):
            raise ValueError(f"expected global_pool 'avg' or '', got {self.global_pool!r}")
        return nn.Linear(self.head_hidden_size, self.num_classes) if self.num_classes else nn.Identity()

    def get_classifier(self) -> nn.Module:
        """The last layer."""
        return self.fc

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Replace the last layer by one with new weights.

        Args:
            num_classes: As for the constructor.
            global_pool: As for the constructor; ``None`` keeps it.
        """
        self.num_classes = num_classes
        self.global_pool = self.global_pool if global_pool is None else global_pool
        self.fc = self.make_classifier().to(next(self.parameters())).train(self.training)


def build_net(
    make: Callable[..., nn.Module],
    name: str,
    pretrained: bool,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
    **kwargs: Any,
) -> nn.Module:
    """A net as timm builds them, with ``features_only`` and the like.

    Args:
        make: Makes the net.
        name: In timm.
        pretrained: As in ``timm.create_model``.
        device: That the net is made on.
        dtype: Of its weights.
        **kwargs: What timm's builder takes, and the net.
    """
    with nullcontext() if device is None else torch.device(device):
        net = build_model_with_cfg(make, name, pretrained, **kwargs)
    return net.to(dtype=dtype)
