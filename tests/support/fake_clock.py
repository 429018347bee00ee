"""A clock for tests of what is measured."""


class FakeClock:
    """A clock in nanoseconds that moves only when told."""

    def __init__(self) -> None:
        self.now_ns = 0

    def __call__(self) -> int:
        return self.now_ns

    def advance_ms(self, duration_ms: float) -> None:
        self.now_ns += round(duration_ms * 1e6)
