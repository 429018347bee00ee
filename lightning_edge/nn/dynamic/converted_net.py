"""A net that was changed in place, under a name of its own."""

from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from lightning_edge.contracts import DetectionBatch, Detections


class ConvertedNet(nn.Module):
    """Does what its body does; a subclass changes the body first, so that YAML can say how.

    Args:
        body: A classifier or a detector.
        part: Name of the module of it that is changed; the whole of it if empty.

    Raises:
        ValueError: The body has no such part.
    """

    def __init__(self, body: nn.Module, part: str) -> None:
        super().__init__()
        if part not in dict(body.named_modules()):
            names = list(dict(body.named_children()))
            raise ValueError(f"expected part to be the name of a module of the net, such as {names}, got {part!r}")
        self.body = body
        self.num_classes: int = body.num_classes  # pyright: ignore

    def forward(self, image: Float[Tensor, "batch 3 height width"]) -> Any:
        """What the body gives."""
        return self.body(image)

    def losses(self, batch: DetectionBatch) -> dict[str, Tensor]:
        """What a detector has to say of a batch."""
        return self.body.losses(batch)  # pyright: ignore

    def detect(self, image: Float[Tensor, "batch 3 height width"]) -> list[Detections]:
        """What a detector finds."""
        return self.body.detect(image)  # pyright: ignore
