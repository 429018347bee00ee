"""Nets that timm knows by name, as classifiers of plain images."""

from typing import Any

import timm
from jaxtyping import Float
from torch import Tensor, nn

# registers the nets of this library
import lightning_edge.nn.shift
import lightning_edge.nn.shiftnet  # noqa: F401
from lightning_edge.nn.normalize import Normalize


class TimmClassifier(nn.Module):
    """Normalise images as a net of timm wants them, then run it.

    Args:
        model: Name in timm, such as ``resnet18`` or this library's ``shiftresnet20``.
        num_classes: Classes.
        pretrained: Load trained weights, from the network if they are not there.
        model_options: Further arguments of the net, such as ``{"expansion": 3}``.
    """

    def __init__(
        self, model: str, num_classes: int, pretrained: bool = False, model_options: dict[str, Any] | None = None
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.net = timm.create_model(model, pretrained, num_classes=num_classes, **(model_options or {}))
        self.normalize = Normalize.of_timm(self.net)

    def forward(self, image: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch classes"]:
        """Scores (logits) of the classes, of images in [0, 1]."""
        return self.net(self.normalize(image))
