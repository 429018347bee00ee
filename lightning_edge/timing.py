"""The only timer of the library: it synchronizes the device, warms up, interleaves, and always gives an interval.

Two functions that are timed one after the other can differ only because the machine changes in between (clock
frequency, caches, other processes), even if they are the same function. Here the candidates take turns within a round,
in a new order each round, so that such changes affect all of them and a comparison can be paired by round.
"""

import gc
import random
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import count, islice
from math import ceil, log
from time import perf_counter_ns
from typing import NamedTuple

import numpy as np
import torch

CONFIDENCE = 0.95
"""Confidence level of all intervals in this module."""


class Estimate(NamedTuple):
    """A measured value with the ends of its 95 % interval, in the same unit."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Samples:
    """Durations of repeated runs of one function, in the order in which they ran.

    Args:
        durations_ms: One duration for each run, in milliseconds.

    Raises:
        ValueError: There is no duration.
    """

    durations_ms: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.durations_ms:
            raise ValueError("expected at least one duration in durations_ms, got none")

    def __len__(self) -> int:
        return len(self.durations_ms)

    @property
    def mean_ms(self) -> float:
        """Arithmetic mean, from which the throughput follows; a single long pause can distort it."""
        return float(np.mean(self.durations_ms))

    def percentile(self, q: float) -> Estimate:
        """Percentile with a distribution-free interval, in milliseconds.

        The ends of the interval are order statistics, selected by the binomial distribution of the number of runs
        below the true percentile (David & Nagaraja, Order Statistics, 3rd ed., section 7.1). They are valid for any
        distribution, as long as the runs are independent and identically distributed.

        Args:
            q: Percentage, strictly between 0 and 100.

        Raises:
            ValueError: There are too few runs: even their extremes do not bound the percentile with 95 % confidence.
        """
        return _percentile(self.durations_ms, q)

    def throughput_per_s(self, batch_size: int = 1) -> float:
        """Items per second when each run processes ``batch_size`` items."""
        return 1000 * batch_size / self.mean_ms


def num_samples_needed(q: float) -> int:
    """Smallest number of samples whose extremes bound percentile ``q`` with 95 % confidence.

    This is 6 for the 50th percentile, 72 for the 95th, and 368 for the 99th.

    Raises:
        ValueError: ``q`` is not strictly between 0 and 100.
    """
    if not 0 < q < 100:
        raise ValueError(f"expected q strictly between 0 and 100, got {q}")
    rarer_side = min(q, 100 - q) / 100
    return ceil(log(_tail()) / log(1 - rarer_side))


def ratio(numerator: Samples, denominator: Samples) -> Estimate:
    """How many times longer one function takes than another: the median over rounds of the quotient within a round.

    Clock frequency and the load by other processes change between rounds but hardly within one, so the quotients
    agree even if the durations do not. For example, two equal nets were timed 12 times on a busy machine, with 150
    rounds each: the quotients of medians were between 0.83 and 1.02, the medians of quotients between 0.992 and 1.005.
    If the calls of a function differ in work, as in a stream with key frames, time a whole cycle as one call.

    Args:
        numerator: Runs of one function from `interleave`.
        denominator: Runs of the other function from the same call of `interleave`.

    Raises:
        ValueError: The numbers of rounds differ, or are too small for an interval.
    """
    if len(numerator) != len(denominator):
        raise ValueError(f"expected as many rounds in denominator ({len(numerator)}), got {len(denominator)}")
    return _percentile(np.divide(numerator.durations_ms, denominator.durations_ms), 50)


def interleave(
    functions: Mapping[str, Callable[[], object]],
    rounds: int,
    warmup: int = 3,
    device: torch.device | str = "cpu",
    min_duration_s: float = 0.0,
    seed: int = 0,
) -> dict[str, Samples]:
    """Time functions in turns: each round runs every function once, in a new order, on a synchronized device.

    Garbage collection is off during the rounds, as in `timeit`. The caller decides on gradients, the number of threads,
    and the training or evaluation mode.

    Args:
        functions: Functions to time, by name.
        rounds: Minimum number of counted rounds.
        warmup: Number of rounds before the counted ones, in which compilation, caches and allocators settle.
        device: Device on which the functions work; it is synchronized before and after each call.
        min_duration_s: Rounds continue until the counted ones have taken at least this long, in seconds.
        seed: Seed for the order of the functions within the rounds.

    Returns:
        One duration for each counted round, by name; index i belongs to the same round for all functions.

    Raises:
        ValueError: There is no function, or ``rounds`` is less than 1.
    """
    if not functions or rounds < 1:
        raise ValueError(f"expected at least one function and one round, got {len(functions)} and {rounds}")
    durations_ms: dict[str, list[float]] = {name: [] for name in functions}
    total_ms = 0.0
    with closing(timed_rounds(functions, warmup, device, seed)) as all_rounds:
        for num_rounds, durations in enumerate(islice(all_rounds, warmup, None), 1):
            for name, duration_ms in durations.items():
                durations_ms[name].append(duration_ms)
            total_ms += sum(durations.values())
            if num_rounds >= rounds and total_ms >= 1000 * min_duration_s:
                break
    return {name: Samples(tuple(values)) for name, values in durations_ms.items()}


def timed_rounds(
    functions: Mapping[str, Callable[[], object]],
    warmup: int = 3,
    device: torch.device | str = "cpu",
    seed: int = 0,
) -> Generator[dict[str, float], None, None]:
    """Run the rounds of :func:`interleave` endlessly; the caller decides after each round whether to continue.

    Args:
        functions: Functions to time, by name.
        warmup: Number of first rounds that the caller will not count.
        device: Device on which the functions work.
        seed: Seed for the order of the functions within the rounds.

    Yields:
        Duration of each function in one round, in milliseconds, by name.
    """
    order, shuffle = list(functions), random.Random(seed).shuffle
    with _no_garbage_collection():
        for index in count():
            if index >= warmup:
                shuffle(order)
            durations: dict[str, float] = {}
            for name in order:
                before_ms = read_clock_ms(device)
                functions[name]()
                durations[name] = read_clock_ms(device) - before_ms
            yield durations


class Stopwatch:
    """Measures durations of named stages that repeat, such as the steps of a stream.

    >>> watch = Stopwatch("cpu")
    >>> for _ in range(10):
    ...     with watch.split("decode"):
    ...         pass
    >>> len(watch.samples("decode"))
    10

    Args:
        device: Device that is synchronized before and after each stage.
    """

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self.device = torch.device(device)
        self._durations_ms: dict[str, list[float]] = {}

    @contextmanager
    def split(self, stage: str) -> Iterator[None]:
        """Time the body as one run of ``stage``; a body that raises is not counted."""
        before_ms = read_clock_ms(self.device)
        yield
        self._durations_ms.setdefault(stage, []).append(read_clock_ms(self.device) - before_ms)

    @property
    def stages(self) -> tuple[str, ...]:
        """Names of the stages that have run, in the order of their first run."""
        return tuple(self._durations_ms)

    def samples(self, stage: str) -> Samples:
        """Runs of one stage so far.

        Raises:
            KeyError: The stage has not run.
        """
        if stage not in self._durations_ms:
            raise KeyError(f"expected one of the stages {self.stages}, got {stage!r}")
        return Samples(tuple(self._durations_ms[stage]))


def synchronize(device: torch.device | str) -> None:
    """Wait until all work queued on the device is done; a CPU has no queue."""
    device = torch.device(device)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def read_clock_ms(device: torch.device | str) -> float:
    """Time in milliseconds since an arbitrary start, read after the device's queued work is done."""
    synchronize(device)
    return perf_counter_ns() / 1e6


def _tail() -> float:
    return (1 - CONFIDENCE) / 2


def _percentile(values: Sequence[float] | np.ndarray, q: float) -> Estimate:
    num_needed = num_samples_needed(q)
    if len(values) < num_needed:
        raise ValueError(f"expected at least {num_needed} samples for percentile {q:g}, got {len(values)}")
    low_rank, high_rank = _interval_ranks(len(values), q / 100)
    ordered = np.sort(values)
    return Estimate(float(np.percentile(ordered, q)), float(ordered[low_rank]), float(ordered[high_rank]))


def _interval_ranks(num_samples: int, probability: float) -> tuple[int, int]:
    """Indices of the sorted samples that bound the quantile; each end misses it with at most half of the total risk."""
    count = torch.arange(num_samples + 1, dtype=torch.float64)
    binomial = torch.distributions.Binomial(num_samples, probs=torch.tensor(probability, dtype=torch.float64))
    at_most = binomial.log_prob(count).exp().cumsum(0)
    low_rank = int((at_most <= _tail()).sum()) - 1
    high_rank = int((at_most < 1 - _tail()).sum())
    return low_rank, high_rank


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    was_enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
