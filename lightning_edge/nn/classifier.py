"""Classifiers from timm that take unnormalized images."""

from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

# these imports register the nets of this package in timm
import lightning_edge.nn.ode.ode_nets
import lightning_edge.nn.shift.shift
import lightning_edge.nn.shift.shiftnet  # noqa: F401
from lightning_edge.nn.encoders.normalize import Normalize
from lightning_edge.nn.encoders.timm_models import load_timm_classifier, make_timm_model


class TimmClassifier(nn.Module):
    """Normalizes images for a timm model and runs the model on them.

    Args:
        model: Name of a timm model, such as ``resnet18`` or this package's ``shiftresnet20``.
        num_classes: Number of classes.
        weights: Path of a file of weights in timm's format. The last layer of the file is ignored if it has another
            number of classes. Random weights if ``None``. Nothing is downloaded.
        model_options: Further arguments of the model, such as ``{"expansion": 3}``.

    Raises:
        ValueError: timm has no such model, the model does not take these options, or ``weights`` lacks parameters.
        FileNotFoundError: The file ``weights`` does not exist.
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
        self.normalize = Normalize.from_timm(self.net)

    def forward(self, image: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch classes"]:
        """Class logits of images in [0, 1]."""
        return self.net(self.normalize(image))
