"""Learning rates over the course of a training, whatever its length in steps."""

import math
from collections.abc import Callable, Sequence

Schedule = Callable[[float], float]
"""Maps the share of training that is done, in [0, 1], to a factor of the learning rate."""


class PolynomialDecay:
    """Learning rate ``(1 - done) ** power`` after a linear warm-up, the usual schedule of segmentation nets.

    Args:
        power: 0 keeps the rate constant, 1 lowers it linearly.
        warmup: Share of training during which the rate grows from zero, in [0, 1].

    Raises:
        ValueError: if one of them is out of its range.
    """

    def __init__(self, power: float = 0.9, warmup: float = 0.02) -> None:
        check_rate("power", power)
        _check_warmup(warmup)
        self.power = power
        self.warmup = warmup

    def __call__(self, done: float) -> float:
        """Return the factor of the learning rate."""
        rise = min(1.0, done / self.warmup) if self.warmup > 0 else 1.0
        return rise * max(0.0, 1.0 - done) ** self.power


class StepSchedule:
    """Learning rate that is constant between steps, after a linear warm-up.

    Args:
        at: Shares of training at which the rate changes, in rising order.
        factors: Factor of the rate from the start on, and from each of these shares on.
        warmup: Share of training during which the rate grows from a tenth of its first value, in [0, 1].

    Raises:
        ValueError: if ``at`` does not rise within (0, 1), ``factors`` is not longer than it by one or has one that is
            negative or not finite, or ``warmup`` is out of its range.
    """

    def __init__(self, at: Sequence[float] = (), factors: Sequence[float] = (1.0,), warmup: float = 0.0) -> None:
        if list(at) != sorted(set(at)) or not all(0 < share < 1 for share in at):
            raise ValueError(f"expected at to rise within (0, 1), got {at}")
        if len(factors) != len(at) + 1:
            raise ValueError(f"expected one factor more than steps ({len(at) + 1}), got {factors}")
        for factor in factors:
            check_rate("each of factors", factor)
        _check_warmup(warmup)
        self.at = tuple(at)
        self.factors = tuple(factors)
        self.warmup = warmup

    def __call__(self, done: float) -> float:
        """Return the factor of the learning rate."""
        rise = min(1.0, 0.1 + 0.9 * done / self.warmup) if self.warmup > 0 else 1.0
        return rise * self.factors[sum(done >= share for share in self.at)]


def check_rate(name: str, value: float) -> None:
    """Raise ``ValueError`` unless a learning rate, or a factor of one, is finite and not negative.

    Args:
        name: What it was given as.
        value: A number, or a tensor of one.
    """
    if not (math.isfinite(value) and value >= 0):
        raise ValueError(f"expected {name} to be finite and at least 0, got {float(value):g}")


def _check_warmup(warmup: float) -> None:
    if not 0 <= warmup <= 1:
        raise ValueError(f"expected warmup as a share of the training, within [0, 1], got {warmup}")
