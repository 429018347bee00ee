"""A wrapper around a net whose layers were converted in place."""

from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from lightning_edge.contracts import DetectionBatch, Detections


class ConvertedNet(nn.Module):
    """Forwards all calls to its body. A subclass converts the body first, so that a YAML config can request it.

    Args:
        body: A classifier or a detector.
        submodule: Name of the submodule of the body that is converted; the whole body if empty.

    Raises:
        ValueError: The body has no submodule of that name.
    """

    def __init__(self, body: nn.Module, submodule: str) -> None:
        super().__init__()
        if submodule not in dict(body.named_modules()):
            names = list(dict(body.named_children()))
            raise ValueError(
                f"expected submodule to be the name of a submodule of the net, such as {names}, got {submodule!r}"
            )
        self.body = body
        self.num_classes: int = body.num_classes  # pyright: ignore

    def forward(self, image: Float[Tensor, "batch 3 height width"]) -> Any:
        """Output of the body."""
        return self.body(image)

    def losses(self, batch: DetectionBatch) -> dict[str, Tensor]:
        """Losses of a detector on a batch."""
        return self.body.losses(batch)  # pyright: ignore

    def detect(self, image: Float[Tensor, "batch 3 height width"]) -> list[Detections]:
        """Objects that a detector finds in each image."""
        return self.body.detect(image)  # pyright: ignore
