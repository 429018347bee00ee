"""Learning-rate schedules over the course of training, independent of the number of steps."""

import math
from collections.abc import Callable, Sequence

from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR

Schedule = Callable[[float], float]
"""Function that maps the completed share of training, in [0, 1], to a factor of the learning rate."""


class PolynomialDecay:
    """Learning rate ``(1 - done) ** power`` after a linear warm-up, the usual schedule of segmentation nets.

    Args:
        power: Exponent of the decay. 0 keeps the rate constant, 1 lowers it linearly.
        warmup: Share of training during which the rate grows from zero, in [0, 1].

    Raises:
        ValueError: An argument is out of range.
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
        at: Shares of training at which the rate changes, in increasing order.
        factors: Factors of the rate: the first one applies from the start, each other one from the corresponding share
            in ``at``.
        warmup: Share of training during which the rate grows from a tenth of its first value, in [0, 1].

    Raises:
        ValueError: The values of ``at`` do not increase within (0, 1), ``factors`` does not have one value more than
            ``at`` or has a negative or infinite value or NaN, or ``warmup`` is out of range.
    """

    def __init__(self, at: Sequence[float] = (), factors: Sequence[float] = (1.0,), warmup: float = 0.0) -> None:
        if list(at) != sorted(set(at)) or not all(0 < share < 1 for share in at):
            raise ValueError(f"expected at to increase within (0, 1), got {at}")
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


def update_learning_rates(scheduler: LambdaLR) -> None:
    """Set the learning rates of a scheduler's current step again, because its factors may have changed since."""
    groups = scheduler.optimizer.param_groups
    for group, rate, factor in zip(groups, scheduler.base_lrs, scheduler.lr_lambdas, strict=True):
        rate = rate * factor(scheduler.last_epoch)
        if isinstance(group["lr"], Tensor):  # an optimizer may have captured this tensor in a graph
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


def check_rate(name: str, value: float) -> None:
    """Raise ``ValueError`` unless a learning rate, or a factor of one, is finite and not negative.

    Args:
        name: Name of the argument. Errors mention it.
        value: Learning rate or factor, as a number or a tensor of one number.
    """
    if not (math.isfinite(value) and value >= 0):
        raise ValueError(f"expected {name} to be finite and at least 0, got {float(value):g}")


def _check_warmup(warmup: float) -> None:
    if not 0 <= warmup <= 1:
        raise ValueError(f"expected warmup as a share of the training, within [0, 1], got {warmup}")
