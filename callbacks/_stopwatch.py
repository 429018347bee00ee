"""Time of some activity that others interrupt."""

import time

import torch


class Stopwatch:
    """Seconds while it goes."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._since: float | None = None

    def go(self) -> None:
        """Start, unless it goes."""
        self._since = time.perf_counter() if self._since is None else self._since

    def pause(self, device: torch.device) -> None:
        """Stop once the device has done what was asked of it so far."""
        if self._since is None:
            return
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        self.seconds += time.perf_counter() - self._since
        self._since = None
