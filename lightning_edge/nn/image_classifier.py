"""The interface that timm expects of a classifier, for all nets of this package that are registered in timm."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from jaxtyping import Float
from timm.models import build_model_with_cfg
from torch import Tensor, nn

from lightning_edge.checks import check_at_least


class ImageClassifier(nn.Module, ABC):
    """Base of classifiers with spatial features and a head that pools them and ends in the linear layer ``fc``.

    The constructor of a subclass ends with ``self.fc = self.make_classifier()`` and the initialization of the weights.

    Args:
        num_features: Number of channels of the features.
        head_hidden_size: Number of inputs of the last layer.
        num_classes: Number of classes; 0 leaves the last layer out.
        in_chans: Number of channels of the image.
        global_pool: ``avg`` or an empty string. With an empty string, a net without a last layer returns the unpooled
            features.

    Raises:
        ValueError: ``global_pool`` is neither ``avg`` nor empty, or ``num_classes`` is negative.
    """

    fc: nn.Module
    feature_info: list[dict[str, Any]]
    """Number of channels, stride and module name of each feature map that ``features_only`` returns."""

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
        """Pooled features, which are the input of the last layer."""

    def forward_head(self, features: Float[Tensor, "batch num_features h w"], pre_logits: bool = False) -> Tensor:
        """Class logits ``[B, classes]``; with ``pre_logits`` the last layer's input ``[B, head_hidden_size]``."""
        pooled = self.pool(features) if self.global_pool or self.num_classes else features
        return pooled if pre_logits else self.fc(pooled)

    def forward(self, image: Float[Tensor, "batch channels height width"]) -> Tensor:
        """Class logits of a normalized image."""
        return self.forward_head(self.forward_features(image))

    def make_classifier(self, num_classes: int | None = None, global_pool: str | None = None) -> nn.Module:
        """A new last layer; ``None`` means the present number of classes and the present pooling."""
        num_classes = self.num_classes if num_classes is None else num_classes
        global_pool = self.global_pool if global_pool is None else global_pool
        if global_pool not in ("avg", ""):
            raise ValueError(f"expected global_pool 'avg' or '', got {global_pool!r}")
        check_at_least(0, num_classes=num_classes)
        return nn.Linear(self.head_hidden_size, num_classes) if num_classes else nn.Identity()

    def get_classifier(self) -> nn.Module:
        """The last layer."""
        return self.fc

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Replace the last layer by a new one.

        Args:
            num_classes: Number of classes; 0 leaves the last layer out.
            global_pool: See the constructor; ``None`` keeps the present value.

        Raises:
            ValueError: See the constructor. The net is unchanged.
        """
        # the layer is made first, so that an error leaves the net as it was
        classifier = self.make_classifier(num_classes, global_pool).to(next(self.parameters())).train(self.training)
        self.fc, self.num_classes = classifier, num_classes
        self.global_pool = self.global_pool if global_pool is None else global_pool


def build_net(
    make: Callable[..., nn.Module],
    name: str,
    pretrained: bool,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
    **kwargs: Any,
) -> nn.Module:
    """Build a net by timm's builder, which supports ``features_only`` and similar options.

    Args:
        make: Constructor of the net.
        name: Name of the net in timm.
        pretrained: See ``timm.create_model``.
        device: Device on which the net is created.
        dtype: Data type of the weights.
        **kwargs: Further arguments of timm's builder and of the net.
    """
    with nullcontext() if device is None else torch.device(device):
        net = build_model_with_cfg(make, name, pretrained, **kwargs)
    return net.to(dtype=dtype)
