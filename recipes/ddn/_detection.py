"""What the commands that only detectors take have in common."""

from typing import Any

from lightning_edge.data import DetectionDataModule


def check_detection(datamodule: Any) -> None:
    """Raise ``ValueError`` for data without boxes."""
    if not isinstance(datamodule, DetectionDataModule):
        raise ValueError(f"expected data of a DetectionDataModule, got {type(datamodule).__name__}")
