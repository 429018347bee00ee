"""A stopwatch for an activity that is interrupted by others."""

import torch

from lightning_edge.timing import read_clock_ms


class Elapsed:
    """Seconds while the stopwatch runs. Work that a device is given in this time counts.

    :class:`~lightning_edge.timing.Stopwatch` keeps every duration of a block of code. Here, start and pause are in
    different hooks of a callback, either may come twice, and one sum is kept, which a resumed run continues.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self._since_ms: float | None = None

    def go(self, device: torch.device) -> None:
        """Start the stopwatch, unless it runs already."""
        if self._since_ms is None:
            self._since_ms = read_clock_ms(device)

    def pause(self, device: torch.device) -> None:
        """Stop the stopwatch, if it runs."""
        if self._since_ms is not None:
            self.seconds += (read_clock_ms(device) - self._since_ms) / 1000
            self._since_ms = None
