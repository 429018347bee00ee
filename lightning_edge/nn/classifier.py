"""Nets that timm knows by name, as classifiers of plain images."""

from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

# registers the nets of this library
import lightning_edge.nn.ode.nets
import lightning_edge.nn.shift.shift
import lightning_edge.nn.shift.shiftnet  # noqa: F401
from lightning_edge.nn.encoders.normalize import Normalize
from lightning_edge.nn.encoders.timm_models import load_timm_classifier, make_timm_model


class TimmClassifier(nn.Module):
    """Normalize images as a net of timm wants them, then run it.

    Args:
        model: Name in timm, such as ``resnet18`` or this library's ``shiftresnet20``.
        num_classes: Classes.
        weights: File of weights in timm's format; its last layer is left out if that is for another number of classes.
            ``None`` starts from random weights. Nothing is downloaded.
        model_options: Further arguments of the net, such as ``{"expansion": 3}``.

    Raises:
        ValueError: timm has no such model, it does not take these options, or ``weights`` lacks some.
        FileNotFoundError: There is no file ``weights``.
    """

    def __init__(
        self, model: str, num_classes: int, weights: str | None = None, model_options: dict[str, Any] | None = None
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        if weights is None:
            self.net = make_timm_model("model", model, {**(model_options or {}), "num_classes": num_classes})
        else:
            self.net = load_timm_classifier("model", model, weights, num_classes, model_options or {})
        self.normalize = Normalize.of_timm(self.net)

    def forward(self, image: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch classes"]:
        """Scores (logits) of the classes, of images in [0, 1]."""
        return self.net(self.normalize(image))
