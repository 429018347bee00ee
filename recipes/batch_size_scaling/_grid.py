"""The options of a sweep over batch sizes, which are checked before anything runs."""

import math
from dataclasses import dataclass

from lightning_edge.analysis.scaling_run import LossSplit
from lightning_edge.checks import check_at_least

_AT_LEAST_ONE = (
    "num_seeds",
    "micro_batch_size",
    "max_examples",
    "every_n_examples",
    "num_samples",
    "eval_batch_size",
)


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Batch sizes, learning-rate rules, seeds and shares of the data, and the length of each run.

    Args:
        sizes: Batch sizes, in examples per step. A batch larger than ``micro_batch_size`` is accumulated.
        lr_rules: Rules for the learning rate of a batch that is ``r`` times as large as the base: ``fixed`` (the base
            rate), ``linear`` (r times the base rate, with a warm-up), ``sqrt`` (the square root of r times the base
            rate), ``lars`` (linear, with LARS instead of the recipe's optimizer) and ``tuned`` (at each size the rate
            with the fewest steps, out of ``tuned_lrs`` and the rates of the other rules except LARS).
        num_seeds: Number of runs with each setting.
        fractions: Shares of the training data, in (0, 1]. They need a data module with ``train_fraction``.
        target: Loss that ends a run. ``None`` lets each run use all its examples, and ``analyze`` chooses a target.
        split: Split of the loss, ``train`` or ``val``.
        max_examples: Length of a run that does not reach the target, in examples.
        base_size: Batch size of the base; ``None`` takes that of the configuration.
        base_lr: Learning rate at the base, which should be tuned; ``None`` takes that of the configuration.
        tuned_lrs: Additional learning rates for the rule ``tuned``.
        lars_lr: Learning rate of LARS at the base.
        warmup_examples: Length of the warm-up in examples, for rules that have one.
        every_n_examples: Examples between two evaluations.
        num_samples: Number of samples of each split for the mean loss. They are the same in all runs on the same share
            of the data.
        eval_batch_size: Number of these samples that are evaluated together.
        window: Number of evaluations whose median counts as the loss; an odd number.
        micro_batch_size: Examples that are in memory together. Batch norm computes its statistics over that many.

    Raises:
        ValueError: A value is out of range.
    """

    sizes: tuple[int, ...] = (16, 32, 64, 128, 256, 512, 1024)
    lr_rules: tuple[str, ...] = ("fixed", "linear")
    num_seeds: int = 1
    fractions: tuple[float, ...] = (1.0,)
    target: float | None = None
    split: LossSplit = "train"
    max_examples: int = 100_000
    base_size: int | None = None
    base_lr: float | None = None
    tuned_lrs: tuple[float, ...] = ()
    lars_lr: float = 1.0
    warmup_examples: int = 10_000
    every_n_examples: int = 2_500
    num_samples: int = 500
    eval_batch_size: int = 100
    window: int = 5
    micro_batch_size: int = 256

    def __post_init__(self) -> None:
        check_at_least(1, **{name: getattr(self, name) for name in _AT_LEAST_ONE})
        if not self.sizes or min(self.sizes) < 1:
            raise ValueError(f"expected sizes of at least 1, got {self.sizes}")
        if not self.lr_rules:
            raise ValueError("expected at least one rule in lr_rules, got none")
        if max(self.sizes) > self.max_examples:
            raise ValueError(f"expected sizes of at most max_examples ({self.max_examples}), got {max(self.sizes)}")
        if not self.fractions or not all(0 < fraction <= 1 for fraction in self.fractions):
            raise ValueError(f"expected fractions within (0, 1], got {self.fractions}")
        for name in ("sizes", "lr_rules", "tuned_lrs", "fractions"):
            if len(set(getattr(self, name))) < len(getattr(self, name)):
                raise ValueError(f"expected {name} without duplicates, got {getattr(self, name)}")
        if self.base_size is not None:
            check_at_least(1, base_size=self.base_size)
        rates = (*(() if self.base_lr is None else (self.base_lr,)), self.lars_lr, *self.tuned_lrs)
        if not all(0 < rate < math.inf for rate in rates):
            raise ValueError(
                f"expected base_lr, lars_lr and tuned_lrs above 0, got {self.base_lr}, {self.lars_lr} and "
                f"{self.tuned_lrs}"
            )
        if self.window < 1 or self.window % 2 == 0:
            raise ValueError(f"expected window to be odd and at least 1, got {self.window}")
        check_at_least(0, warmup_examples=self.warmup_examples)
        for size in self.sizes:
            micro = largest_divisor(size, self.micro_batch_size)
            if 2 * micro < min(size, self.micro_batch_size):
                raise ValueError(
                    f"expected sizes above micro_batch_size ({self.micro_batch_size}) to be multiples of at least "
                    f"half of it, got {size}, whose largest possible part is {micro}"
                )


def largest_divisor(number: int, limit: int) -> int:
    """The largest divisor of a number that is at most ``limit``."""
    return next(divisor for divisor in range(min(number, limit), 0, -1) if number % divisor == 0)
