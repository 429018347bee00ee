import math

import pytest
from scaling_runs import SIZES, TRUTH, diverged, make_run, steps_of

from lightning_edge.analysis import scaling_curve as scaling
from lightning_edge.analysis.scaling_choice import choose
from lightning_edge.analysis.scaling_curve import best_setting, quartile_of_largest
from lightning_edge.analysis.scaling_run import ScalingRun, read_run, write_run


def scaling_curve(runs, target, split, **options):
    """Of one setting for each size."""
    settings = {size: {"only": actual} for size, actual in runs.items()}
    return scaling.scaling_curve(settings, target, split, **options)


def make_runs(budget_examples=math.inf, factors=(1.0, 1.05, 0.95)):
    return {
        size: [make_run(size, factor * steps_of(size), budget_examples / size) for factor in factors] for size in SIZES
    }


def test_a_known_curve_is_found_again():
    curve = scaling_curve(make_runs(), 1.0, "train")
    assert curve.fit == pytest.approx(TRUTH, rel=0.03)
    assert curve.critical_batch_size_fit.value == pytest.approx(200, rel=0.04)
    assert curve.critical_batch_size_fit.low < 200 < curve.critical_batch_size_fit.high
    # twice the examples of batch 16, which are 1.08 times the least
    assert curve.critical_batch_size_cost.value == pytest.approx(232, rel=0.06)
    for point in curve.points:
        steps = steps_of(point.batch_size)
        assert point.steps.value == pytest.approx(steps, rel=0.02)
        assert point.steps.low <= point.steps.value <= point.steps.high
        assert point.speedup == pytest.approx(steps_of(16) / steps, rel=0.03)
        assert point.cost == pytest.approx(point.batch_size * steps / (16 * steps_of(16)), rel=0.03)
        assert point.seconds == pytest.approx(0.01 * steps, rel=0.02)
        assert point.examples_per_s == pytest.approx(100 * point.batch_size)
        assert point.linear_error == pytest.approx(0.01 * point.batch_size)
        assert point.critical_batch_size_noise == pytest.approx(300)
        assert (point.num_runs, point.num_reached) == (3, 3)
    assert [point.regime for point in curve.points] == [
        "", "linear", "linear", "diminishing", "diminishing", "diminishing", "diminishing", "stagnating",
    ]  # fmt: skip


def test_what_did_not_reach_the_target_is_kept_and_bounds_the_cost():
    """With 60,000 examples a batch of 256 reaches the target (45,600) and one of 512 does not (71,200)."""
    curve = scaling_curve(make_runs(60_000), 1.0, "train")
    reached = {point.batch_size: point.num_reached for point in curve.points}
    assert reached == {16: 3, 32: 3, 64: 3, 128: 3, 256: 3, 512: 0, 1024: 0, 2048: 0}
    missed = curve.points[-3]
    assert missed.steps.value == math.inf
    confirmed = make_run(512, steps_of(512), 60_000 / 512).evaluations[-2].step  # the last only confirms
    assert missed.least_steps == pytest.approx(confirmed, rel=0.06)
    assert missed.least_steps < 60_000 / 512
    assert (missed.regime, missed.speedup, missed.cost) == ("not reached", 0.0, math.inf)
    assert math.isnan(missed.exponent)
    assert curve.fit == pytest.approx(TRUTH, rel=0.05)
    assert curve.critical_batch_size_cost.value == pytest.approx(232, rel=0.1)


def test_a_diverged_run_reaches_nothing():
    run = make_run(64, 100)
    broken = ScalingRun(run.metadata, tuple(row._replace(train_loss=math.nan) for row in run.evaluations))
    assert broken.time_to_target(1.0, "train") == math.inf
    curve = scaling_curve({64: [broken], 128: [make_run(128, 60)]}, 1.0, "train")
    assert [point.num_reached for point in curve.points] == [0, 1]
    assert curve.fit is None
    assert math.isnan(curve.critical_batch_size_fit.value)
    assert curve.points[1].cost == 1  # of the smallest that reached it


def test_where_nothing_reached_the_target_there_is_no_choice():
    curve = scaling_curve(make_runs(1000), 1.0, "train")
    assert math.isnan(curve.critical_batch_size_cost.value)
    assert choose({"fixed": curve}) is None


def test_one_seed_has_no_interval():
    curve = scaling_curve(make_runs(factors=(1.0,)), 1.0, "train")
    assert all(math.isnan(point.steps.low) for point in curve.points)
    assert math.isnan(curve.critical_batch_size_fit.low)
    assert curve.critical_batch_size_fit.value == pytest.approx(200, rel=0.03)


def test_losses_of_the_other_split_have_their_own_steps():
    runs = make_runs()
    later = scaling_curve(runs, 1.0, "val").points[0].steps.value
    assert later == pytest.approx(1.1 * steps_of(16), rel=0.02)


def test_no_runs_are_refused():
    with pytest.raises(ValueError, match="expected runs of at least one batch size"):
        scaling_curve({64: []}, 1.0, "train")


def test_the_choice_is_the_largest_batch_that_is_worth_its_examples():
    curve = scaling_curve(make_runs(), 1.0, "train")
    choice = choose({"fixed": curve}, max_cost=2.0)
    assert choice is not None
    assert (choice.point.batch_size, choice.rule) == (128, "fixed")  # 256 takes 2.1 times the examples of 16
    even = scaling_curve({64: [make_run(64, 100)], 128: [make_run(128, 100)]}, 1.0, "train")
    assert choose({"fixed": even}).point.batch_size == 64  # a larger batch that saves nothing is not worth it
    assert choice.next_point is not None
    assert choice.next_point.batch_size == 256
    assert choose({"fixed": curve}, max_cost=100.0).next_point is None


def test_rules_are_compared_with_the_fewest_examples_of_all():
    """A rule that is slow everywhere looks flat beside itself and not beside a better one."""
    good, bad = make_runs(), {size: [make_run(size, 3 * steps_of(16) * 16 / size)] for size in SIZES}
    curves = {"good": scaling_curve(good, 1.0, "train"), "bad": scaling_curve(bad, 1.0, "train")}
    assert curves["bad"].points[-1].cost == pytest.approx(1, rel=0.1)
    assert choose(curves).rule == "good"


def test_the_lowest_quartile_of_the_largest_batch_is_that_of_its_best_setting():
    good, bad, broken = make_run(64, 100, 80, every=1), make_run(64, 200, 80, every=1), diverged(make_run(64, 100))
    runs = {16: {"a": [make_run(16, 50)]}, 64: {"bad": [bad], "good": [good, broken], "broken": [broken]}}
    # of losses that fall evenly from 2 to 1.2
    assert quartile_of_largest(runs, "train") == pytest.approx(1.4)
    only_small = {16: {"a": [make_run(16, 100, 80, every=1)]}, 64: {"broken": [broken]}}
    assert quartile_of_largest(only_small, "train") == pytest.approx(1.4)
    with pytest.raises(ValueError, match="expected runs that do not diverge, got none"):
        quartile_of_largest({64: {"broken": [broken]}}, "train")


def test_what_diverged_bounds_the_critical_size_from_above():
    runs = make_runs()
    expected = scaling_curve(runs, 1.0, "train", num_resamples=0)
    runs[2048] = [diverged(run) for run in runs[2048]]
    curve = scaling_curve(runs, 1.0, "train", num_resamples=0)
    assert curve.points[-1].regime == "diverged"
    assert curve.critical_batch_size_cost == expected.critical_batch_size_cost
    assert curve.fit == pytest.approx(expected.fit, rel=0.02)
    early = {size: [diverged(run) for run in actual] if size > 64 else actual for size, actual in make_runs().items()}
    assert (
        scaling_curve(early, 1.0, "train", num_resamples=0).critical_batch_size_cost.value == 128
    )  # the first that fails


def test_runs_that_end_too_early_leave_the_critical_size_open():
    """Up to 128 the cost is below 2, and larger batches were given fewer examples than would tell."""
    curve = scaling_curve(make_runs(38_000), 1.0, "train", num_resamples=0)
    assert [point.num_reached > 0 for point in curve.points] == [True] * 4 + [False] * 4
    assert math.isnan(curve.critical_batch_size_cost.value)


def test_a_critical_size_beyond_what_was_tried_is_no_number():
    slope = {size: [make_run(size, 12_800 / size)] for size in (16, 32, 64)}
    flat = {size: [make_run(size, 100)] for size in (16, 32, 64)}
    assert scaling_curve(slope, 1.0, "train").critical_batch_size_fit.value == math.inf
    assert scaling_curve(flat, 1.0, "train").critical_batch_size_fit.value == 0


def test_intervals_are_of_the_seeds_there_are():
    runs = make_runs()
    runs[64] = runs[64][:1]
    points = scaling_curve(runs, 1.0, "train", num_resamples=200).points
    assert math.isnan(points[2].steps.low)
    steps = [run.time_to_target(1.0, "train") for run in runs[32]]
    assert points[1].steps[1:] == pytest.approx((min(steps), max(steps)))  # the range, of three


def test_noise_counts_up_to_the_target_at_the_size_of_the_run():
    run = make_run(64, 100)
    loud = [row._replace(noise_scale=200.0 if row.train_loss >= 1 else 9e9) for row in run.evaluations]
    loud[0] = loud[0]._replace(noise_scale=math.nan)  # nothing is measured before the first step
    curve = scaling_curve({64: [ScalingRun(run.metadata, tuple(loud))]}, 1.0, "train")
    assert curve.points[0].critical_batch_size_noise == pytest.approx(200)
    rising = [row._replace(noise_scale=100.0 if row.step <= 50 else 900.0) for row in run.evaluations]
    actual = (
        scaling_curve({64: [ScalingRun(run.metadata, tuple(rising))]}, 1.0, "train").points[0].critical_batch_size_noise
    )
    before, after = (
        sum(0 < row.step <= 100 and (row.step <= 50) is is_first for row in rising) for is_first in (True, False)
    )
    progress = before / (1 + 100 / 64) + after / (1 + 900 / 64)
    assert actual == pytest.approx(64 * (before + after - progress) / progress)


def test_one_of_three_that_diverged_does_not_bound_the_median():
    """It is above what the second fastest confirms, and nothing tells how far."""
    runs = {16: [make_run(16, 200)] * 3, 64: [make_run(64, 50), make_run(64, 100, 60, every=1)]}
    runs[64].append(diverged(make_run(64, 100)))
    curve = scaling_curve(runs, 1.0, "train")
    assert (curve.points[1].regime, curve.points[1].least_steps) == ("not reached", 59)
    assert math.isnan(curve.critical_batch_size_cost.value)  # 59 steps are 1.18 times the fewest examples


def test_a_target_that_evaluations_do_not_confirm_is_not_ruled_out():
    run = make_run(64, 4, 5, every=1)  # losses 2, 1.75, 1.5, 1.25, 1
    assert run.time_to_target(0.9, "train") == math.inf
    assert run.least_steps(0.9, "train") == 3
    assert run.least_steps(1.5, "train") == run.time_to_target(1.5, "train") == 2


def test_an_interval_reaches_as_far_as_one_cannot_tell():
    """Where two of three reach the target, some resamples hold none that does."""
    runs = {16: [make_run(16, 200)] * 3, 64: [make_run(64, 60), make_run(64, 70), make_run(64, 500, 100)]}
    curve = scaling_curve(runs, 1.0, "train")
    assert curve.points[1].steps.high == math.inf
    assert curve.critical_batch_size_fit.high == curve.critical_batch_size_cost.high == math.inf


def test_the_best_setting_is_chosen_in_every_resample():
    """Of settings that differ in nothing but luck the interval reaches below what the luckiest alone tells."""
    lucky = {"a": [make_run(64, steps, every=1) for steps in (90, 100, 150)]}
    both = {**lucky, "b": [make_run(64, steps, every=1) for steps in (80, 110, 120)]}
    alone, chosen = (scaling.scaling_curve({64: actual}, 1.0, "train").points[0] for actual in (lucky, both))
    assert alone.steps.value == chosen.steps.value == pytest.approx(100)
    assert alone.steps.low == pytest.approx(90)
    assert chosen.steps.low == pytest.approx(80)
    assert chosen.steps.high == pytest.approx(120)


def test_the_linear_error_is_of_the_last_three():
    run = make_run(64, 100, every=10)
    errors = [math.nan, 9.0, 9.0, math.nan, 1.0, 2.0, 3.0]
    rows = tuple(row._replace(linear_error=error) for row, error in zip(run.evaluations, errors, strict=False))
    assert scaling_curve({64: [ScalingRun(run.metadata, rows)]}, 1.0, "train").points[0].linear_error == 2.0


def test_the_best_of_several_settings_has_the_fewest_steps_or_else_the_lowest_loss():
    fast, slow = [make_run(64, 100)], [make_run(64, 200)]
    assert best_setting({"a": slow, "b": fast}, 1.0, "train") == "b"
    short = {"a": [make_run(64, 200, 50)], "b": [make_run(64, 100, 50)]}  # neither reaches it
    assert best_setting(short, 1.0, "train") == "b"


def test_a_run_is_read_as_it_was_written(tmp_path):
    run = make_run(64, 100)
    write_run(run, tmp_path / "deep" / "er")
    assert read_run(tmp_path) == run


def test_a_broken_or_missing_run_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"expected batch_size_scaling.json.*got none"):
        read_run(tmp_path)
    write_run(make_run(64, 100), tmp_path)
    table = tmp_path / "batch_size_scaling.csv"
    table.write_text(table.read_text()[:-20])
    with pytest.raises(ValueError, match=r"expected .*batch_size_scaling.json and batch_size_scaling.csv"):
        read_run(tmp_path)
