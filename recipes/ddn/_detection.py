"""A check that the commands for detectors share."""

from typing import Any

from lightning_edge.data import DetectionDataModule


def check_detection(datamodule: Any) -> None:
    """Raise ``ValueError`` for data without boxes."""
    if not isinstance(datamodule, DetectionDataModule):
        raise ValueError(f"expected a DetectionDataModule as data, got {type(datamodule).__name__}")
