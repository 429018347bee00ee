"""Time of some activity that others interrupt."""

import torch

from lightning_edge.timing import read_clock_ms


class Elapsed:
    """Seconds while it goes, in which a device does what it is asked meanwhile."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._since_ms: float | None = None

    def go(self, device: torch.device) -> None:
        """Start, unless it goes."""
        if self._since_ms is None:
            self._since_ms = read_clock_ms(device)

    def pause(self, device: torch.device) -> None:
        """Stop, if it goes."""
        if self._since_ms is not None:
            self.seconds += (read_clock_ms(device) - self._since_ms) / 1000
            self._since_ms = None
