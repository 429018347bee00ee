"""The one timer of the library: synchronised, warmed up, interleaved, and never without an interval.

Two functions timed one after the other differ through drift of the machine (clock frequency, caches, neighbours) even
when they are the same function. Here candidates take turns within a round, in a new order each round, so that drift
meets all of them and a comparison can be paired by round.
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
"""Probability with which an interval of this module is meant to cover the true value."""


class Estimate(NamedTuple):
    """A measured value with the ends of its 95 % interval, in the same unit."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Samples:
    """Durations of repeated runs of one thing, in the order in which they ran.

    Args:
        durations_ms: one duration for each run, in milliseconds.

    Raises:
        ValueError: if there is no duration.
    """

    durations_ms: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.durations_ms:
            raise ValueError("expected at least one duration in durations_ms, got none")

    def __len__(self) -> int:
        return len(self.durations_ms)

    @property
    def mean_ms(self) -> float:
        """Arithmetic mean, from which throughput follows; one long pause can spoil it."""
        return float(np.mean(self.durations_ms))

    def percentile(self, q: float) -> Estimate:
        """Percentile with a distribution-free interval, in milliseconds.

        The ends are the order statistics that the binomial distribution of "runs below the true percentile" allows
        (David & Nagaraja, Order Statistics, 3rd ed., section 7.1). They hold for any distribution, as long as runs
        are independent and alike.

        Args:
            q: percentage, strictly between 0 and 100.

        Raises:
            ValueError: if even the extreme order statistics do not bound the percentile with 95 % confidence.
        """
        return _percentile(self.durations_ms, q)

    def throughput_per_s(self, batch_size: int = 1) -> float:
        """Items per second when each run processes ``batch_size`` items."""
        return 1000 * batch_size / self.mean_ms


def num_samples_needed(q: float) -> int:
    """Fewest samples whose extremes bound percentile ``q`` with 95 % confidence: 6 for 50, 72 for 95, 368 for 99.

    Raises:
        ValueError: if ``q`` is not strictly between 0 and 100.
    """
    if not 0 < q < 100:
        raise ValueError(f"expected q strictly between 0 and 100, got {q}")
    rarer_side = min(q, 100 - q) / 100
    return ceil(log(_tail()) / log(1 - rarer_side))


def ratio(numerator: Samples, denominator: Samples) -> Estimate:
    """How many times longer one function takes than another: the median over rounds of the quotient within a round.

    Clock frequency and neighbours change between rounds but hardly within one, so the quotients agree where the
    durations do not. (Two equal nets on a busy machine, 12 times 150 rounds: quotients of medians lay between 0.83
    and 1.02, medians of quotients between 0.992 and 1.005.) For functions whose calls differ in work, such as a
    stream with key frames, let one call be a whole cycle.

    Args:
        numerator: runs of one function from `interleave`.
        denominator: runs of the other function from the same call of `interleave`.

    Raises:
        ValueError: if the numbers of rounds differ, or are too small for an interval.
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
    """Time functions in turns: each round runs every function once, in a new order, on a synchronised device.

    Garbage collection is off during the rounds, as in `timeit`. Gradients, threads and modes are the caller's choice.

    Args:
        functions: what to time, by name.
        rounds: least number of counted rounds.
        warmup: rounds before those, not counted: compilation, caches and allocators settle there.
        device: device on which the functions work; it is synchronised before and after each call.
        min_duration_s: go on with further rounds until the counted ones have lasted this long.
        seed: of the order within the rounds.

    Returns:
        One duration for each counted round, by name; index i belongs to the same round in all of them.
    """
    if not functions or rounds < 1:
        raise ValueError(f"expected at least one function and one round, got {len(functions)} and {rounds}")
    durations_ms: dict[str, list[float]] = {name: [] for name in functions}
    lasted_ms = 0.0
    with closing(timed_rounds(functions, warmup, device, seed)) as all_rounds:
        for done, durations in enumerate(islice(all_rounds, warmup, None), 1):
            for name, duration_ms in durations.items():
                durations_ms[name].append(duration_ms)
            lasted_ms += sum(durations.values())
            if done >= rounds and lasted_ms >= 1000 * min_duration_s:
                break
    return {name: Samples(tuple(values)) for name, values in durations_ms.items()}


def timed_rounds(
    functions: Mapping[str, Callable[[], object]],
    warmup: int = 3,
    device: torch.device | str = "cpu",
    seed: int = 0,
) -> Generator[dict[str, float], None, None]:
    """Rounds of :func:`interleave` without end, for a caller that decides after each whether to go on.

    Args:
        functions: what to time, by name.
        warmup: how many of the first rounds are not to be counted.
        device: device on which the functions work.
        seed: of the order within the rounds.

    Yields:
        Duration of each function in one round, milliseconds, by name.
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
    """Durations of named stages of something that repeats, such as the steps of a stream.

    >>> watch = Stopwatch("cpu")
    >>> for _ in range(10):
    ...     with watch.split("decode"):
    ...         pass
    >>> len(watch.samples("decode"))
    10

    Args:
        device: synchronised at both ends of each stage.
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
        """Stages that ran, in the order of their first run."""
        return tuple(self._durations_ms)

    def samples(self, stage: str) -> Samples:
        """Runs of one stage so far.

        Raises:
            KeyError: if the stage has not run.
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
    """Indices into the sorted samples whose values bound the quantile, each end failing with at most half the risk."""
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
