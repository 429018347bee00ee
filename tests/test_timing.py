"""The clock is faked wherever a number is expected; SciPy's binomial is the oracle for intervals."""

import gc
from collections.abc import Callable

import numpy as np
import pytest
from fake_clock import FakeClock
from scipy.stats import binom

from lightning_edge import timing
from lightning_edge.timing import Estimate, Samples, Stopwatch, interleave, num_samples_needed, ratio


def takes(clock: FakeClock, *durations_ms: float) -> Callable[[], None]:
    remaining = iter(durations_ms)
    return lambda: clock.advance_ms(next(remaining))


@pytest.mark.parametrize(("q", "num_needed"), [(50, 6), (90, 36), (95, 72), (99, 368), (5, 72)])
def test_num_samples_needed_is_the_first_that_bounds_the_percentile(q: float, num_needed: int) -> None:
    assert num_samples_needed(q) == num_needed
    rarer = min(q, 100 - q) / 100
    assert (1 - rarer) ** num_needed <= 0.025 < (1 - rarer) ** (num_needed - 1)


@pytest.mark.parametrize("q", [0, 100, -1])
def test_num_samples_needed_refuses_extremes(q: float) -> None:
    with pytest.raises(ValueError, match="strictly between 0 and 100"):
        num_samples_needed(q)


def test_percentile_of_the_fewest_samples_is_bounded_by_their_extremes() -> None:
    assert Samples((4.0, 2.0, 6.0, 1.0, 5.0, 3.0)).percentile(50) == Estimate(3.5, 1.0, 6.0)


def test_percentile_refuses_too_few_samples_and_says_how_many_are_needed() -> None:
    with pytest.raises(ValueError, match="expected at least 368 samples for percentile 99, got 367"):
        Samples((1.0,) * 367).percentile(99)
    assert Samples((1.0,) * 368).percentile(99) == Estimate(1.0, 1.0, 1.0)


@pytest.mark.parametrize("q", [5, 50, 95, 99])
@pytest.mark.parametrize("num_samples", [368, 500, 3000])
def test_percentile_ends_are_the_tightest_order_statistics_with_coverage(q: float, num_samples: int) -> None:
    estimate = Samples(tuple(float(i) for i in range(1, num_samples + 1))).percentile(q)
    low_order, high_order = int(estimate.low), int(estimate.high)
    below = binom(num_samples, q / 100)
    assert below.cdf(low_order - 1) <= 0.025 < below.cdf(low_order)
    assert below.cdf(high_order - 1) >= 0.975 > below.cdf(high_order - 2)
    assert estimate.low <= estimate.value <= estimate.high


def test_percentile_interval_covers_the_truth_as_often_as_it_says() -> None:
    generator = np.random.default_rng(0)
    true_p95 = -np.log(0.05)
    draws = [Samples(tuple(generator.exponential(size=200))).percentile(95) for _ in range(400)]
    coverage = np.mean([draw.low <= true_p95 <= draw.high for draw in draws])
    assert coverage >= binom.ppf(1e-4, 400, 0.95) / 400


def test_mean_and_throughput() -> None:
    samples = Samples((10.0, 20.0, 30.0))
    assert samples.mean_ms == 20.0
    assert samples.throughput_per_s(batch_size=4) == 200.0


def test_samples_refuse_to_be_empty() -> None:
    with pytest.raises(ValueError, match="at least one duration"):
        Samples(())


def test_interleave_drops_warmup_and_keeps_rounds_paired(clock: FakeClock) -> None:
    functions = {"slow": takes(clock, 900, 5, 6, 7), "fast": takes(clock, 800, 1, 2, 3)}
    samples = interleave(functions, rounds=3, warmup=1)
    assert samples == {"slow": Samples((5.0, 6.0, 7.0)), "fast": Samples((1.0, 2.0, 3.0))}


def test_interleave_runs_each_function_once_a_round_in_changing_order() -> None:
    calls: list[str] = []
    functions = {name: lambda name=name: calls.append(name) for name in "abc"}
    interleave(functions, rounds=20, warmup=0, seed=1)
    rounds = [tuple(calls[i : i + 3]) for i in range(0, 60, 3)]
    assert all(sorted(order) == ["a", "b", "c"] for order in rounds)
    assert len(set(rounds)) > 2
    first, calls[:] = list(calls), []
    interleave(functions, rounds=20, warmup=0, seed=1)
    assert calls == first


def test_interleave_goes_on_for_the_least_duration(clock: FakeClock) -> None:
    samples = interleave({"step": lambda: clock.advance_ms(100)}, rounds=2, warmup=5, min_duration_s=1.0)
    assert len(samples["step"]) == 10


def test_interleave_synchronises_before_and_after_each_call(monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[str] = []
    monkeypatch.setattr(timing, "synchronize", lambda device: events.append(str(device)))
    interleave({"f": lambda: events.append("call")}, rounds=1, warmup=0, device="cuda:1")
    around = events.index("call")
    assert events[around - 1 : around + 2] == ["cuda:1", "call", "cuda:1"]


@pytest.mark.parametrize("collects", [True, False])
def test_interleave_collects_no_garbage_within_and_restores_it(collects: bool) -> None:
    (gc.enable if collects else gc.disable)()
    within: list[bool] = []

    def fail() -> None:
        within.append(gc.isenabled())
        raise RuntimeError("stop")

    try:
        with pytest.raises(RuntimeError, match="stop"):
            interleave({"f": fail}, rounds=1, warmup=0)
        assert within == [False]
        assert gc.isenabled() is collects
    finally:
        gc.enable()


def test_interleave_refuses_nothing_to_do() -> None:
    with pytest.raises(ValueError, match="got 0 and 1"):
        interleave({}, rounds=1)
    with pytest.raises(ValueError, match="got 1 and 0"):
        interleave({"f": int}, rounds=0)


def test_ratio_of_a_constant_factor_is_exact() -> None:
    base = Samples(tuple(np.random.default_rng(0).exponential(size=50)))
    double = Samples(tuple(2 * duration for duration in base.durations_ms))
    assert ratio(double, base) == Estimate(2.0, 2.0, 2.0)


def test_ratio_is_the_median_of_the_quotients_within_rounds() -> None:
    drift = (1.0, 10.0, 1.0, 100.0, 1.0, 1.0, 1000.0)
    quotients = (2.0, 2.0, 1.0, 3.0, 2.0, 4.0, 0.5)
    numerator = Samples(tuple(a * b for a, b in zip(drift, quotients, strict=True)))
    assert ratio(numerator, Samples(drift)) == Estimate(2.0, 0.5, 4.0)


def test_ratio_of_equal_distributions_covers_one_as_often_as_it_says() -> None:
    generator = np.random.default_rng(3)
    pairs = [generator.lognormal(sigma=0.3, size=(2, 60)) for _ in range(400)]
    estimates = [ratio(Samples(tuple(a)), Samples(tuple(b))) for a, b in pairs]
    covered = sum(estimate.low <= 1 <= estimate.high for estimate in estimates)
    assert covered >= binom.ppf(1e-4, 400, 0.95)


def test_ratio_refuses_unpaired_rounds() -> None:
    with pytest.raises(ValueError, match=r"expected as many rounds in denominator \(2\), got 1"):
        ratio(Samples((1.0, 2.0)), Samples((1.0,)))
    with pytest.raises(ValueError, match="expected at least 6 samples"):
        ratio(Samples((1.0, 2.0)), Samples((1.0, 2.0)))


def test_stopwatch_splits_stages(clock: FakeClock) -> None:
    watch = Stopwatch()
    for duration_ms in (3, 4):
        with watch.split("decode"):
            clock.advance_ms(duration_ms)
        clock.advance_ms(100)
        with watch.split("infer"):
            clock.advance_ms(10 * duration_ms)
    assert watch.stages == ("decode", "infer")
    assert watch.samples("decode") == Samples((3.0, 4.0))
    assert watch.samples("infer") == Samples((30.0, 40.0))


def test_stopwatch_does_not_count_a_body_that_raises() -> None:
    watch = Stopwatch()
    with pytest.raises(RuntimeError), watch.split("decode"):
        raise RuntimeError
    with pytest.raises(KeyError, match="got 'decode'"):
        watch.samples("decode")
