"""What a sweep says and draws, from runs whose steps are known."""

import math

import pytest
from scaling_runs import diverged, make_run, steps_of
from small_sweep import results

from recipes.batch_size_scaling._figure import draw_results
from recipes.batch_size_scaling._progress import in_a_line
from recipes.batch_size_scaling._report import in_words, recommend, recommend_here, remarks


def test_the_advice_is_what_the_runs_amount_to(tmp_path):
    actual = results(tmp_path)
    # 64 takes 412.5 steps, 26,400 examples; 16 takes 1,350, 21,600; 256 takes 178, 45,600
    assert recommend(actual) == (
        "If several machines share a step, train with a batch of 64 at a learning rate of 0.1 (fixed): a train loss of "
        "1 takes 412 steps, 3.3 times fewer than a batch of 16 with this rule, with 1.22 times the fewest examples of "
        "all runs; a batch of 256 saves 57% of the steps and takes 1.7 times as many examples."
    )
    # a step takes 10 ms at every size
    assert recommend_here(actual) == (
        "On this machine alone, the fastest was a batch of 1024 at a learning rate of 0.1 (fixed): 1.2 s at "
        "102,400 examples per second; the batch of 64 took 4.12 s."
    )
    assert in_words(actual)[-2:] == [recommend(actual), recommend_here(actual)]


@pytest.mark.parametrize(
    ("make", "end"),
    [
        (lambda size: diverged(make_run(size, 100)), "; a batch of 256 diverged."),
        (lambda size: make_run(size, 178, 90), "; a batch of 256 did not reach it in 84 steps."),
        (
            lambda size: make_run(size, 420),
            "; a batch of 256 saves no steps and takes 4.1 times as many examples.",
        ),
    ],
    ids=["diverged", "not reached", "slower"],
)
def test_the_advice_says_what_a_larger_batch_did(tmp_path, make, end):
    actual = results(
        tmp_path, lambda run: make(run.size) if run.size == 256 else make_run(run.size, steps_of(run.size))
    )
    assert recommend(actual).endswith(end)


def test_where_nothing_reached_the_target_it_is_said(tmp_path):
    nothing = results(tmp_path / "all", lambda run: make_run(run.size, 1000, 50))
    assert remarks(nothing)[0] == "fixed: critical batch size unknown: no run reached the target"
    assert recommend(nothing).startswith("No run reached a train loss of 1 in 1,000,000 examples: raise target")
    assert recommend_here(nothing) is None
    some = results(tmp_path / "some", lambda run: make_run(run.size, 1000, 50), skip=(16, 64))
    assert recommend(some) == "None of the 2 finished runs reached a train loss of 1."
    assert "2 runs of this grid have not finished and are left out." in remarks(some)


def critical(folder, make):
    return remarks(results(folder, make))[0].removeprefix("fixed: critical batch size ")


def test_critical_sizes_say_how_much_is_known(tmp_path):
    known = critical(tmp_path / "known", lambda run: make_run(run.size, steps_of(run.size)))
    assert known == "223 by cost, 200 by the fitted curve"  # 43,200 examples, between 64 and 256
    few = critical(tmp_path / "few", lambda run: make_run(run.size, steps_of(run.size), 25_000 / run.size))
    assert few.startswith("unknown by cost: runs that missed the target had too few examples")
    bound = critical(tmp_path / "bound", lambda run: make_run(run.size, steps_of(run.size), 44_000 / run.size, every=1))
    assert bound.startswith("at most 2")
    linear = critical(tmp_path / "linear", lambda run: make_run(run.size, 64_000 / run.size))
    assert linear == "beyond 1024 by cost, beyond 1024 by the fitted curve"
    flat = critical(tmp_path / "flat", lambda run: make_run(run.size, 100))
    assert flat == "32 by cost, below 16 by the fitted curve"


def test_the_noise_scale_has_its_share_of_the_examples(tmp_path):
    actual = results(tmp_path)
    [said] = [line for line in remarks(actual) if "noise" in line]
    assert said.startswith(
        "The gradient noise scale at batch size 64 predicts a critical batch size of 300 (plain SGD), from "
    )
    share = 64 * steps_of(64) / actual.num_examples
    assert f"from {share:.1%} of the sweep's examples" in said


def test_the_picture_shows_every_number(tmp_path):
    rules = ("fixed", "linear")
    actual = results(tmp_path, lr_rules=rules, make=lambda run: make_run(run.size, steps_of(run.size)))
    steps, cost, contours, seconds, error, noise, examples_per_s = draw_results(actual).axes
    points = actual.whole["fixed"].points

    def line(axis, label):
        [actual] = [line for line in axis.lines if line.get_label() == label]
        return actual.get_ydata()

    for axis, name in ((steps, "steps"), (cost, "cost"), (seconds, "seconds"), (error, "linear_error")):
        expected = [getattr(point, name) for point in points]
        expected = [value.value for value in expected] if name == "steps" else expected
        for rule in rules:
            assert line(axis, rule) == pytest.approx(expected)
    assert line(noise, "fixed") == pytest.approx([300.0] * 4)
    assert line(cost, "predicted by gradient noise") is not None
    assert line(steps, "recommended")[0] == 0
    assert examples_per_s.lines[0].get_ydata() == pytest.approx([point.examples_per_s for point in points])
    levels = [float(line.get_label()) for line in contours.lines if line.get_label()[0].isdigit()]
    assert len(levels) == 5
    assert levels[0] == 1  # the target itself, and four that are easier
    assert levels == sorted(levels)
    easier = [line.get_ydata()[0] for line in contours.lines if line.get_label()[0].isdigit()]
    assert easier == sorted(easier, reverse=True)


def test_the_picture_shows_shares_of_the_data_and_what_was_not_reached(tmp_path):
    def make(planned):
        return make_run(planned.size, steps_of(planned.size) / planned.fraction, 300)

    actual = results(tmp_path, make, fractions=(1.0, 0.5))
    axes = draw_results(actual).axes
    labels = {line.get_label() for line in axes[5].lines}
    assert {"100% of the data", "50% of the data"} <= labels
    [missed] = [line for line in axes[0].lines if line.get_marker() == "^"]
    assert list(missed.get_xdata()) == [16, 64]


def test_a_finished_run_is_described_in_a_line(tmp_path):
    actual = results(tmp_path, lambda run: make_run(run.size, steps_of(run.size), 300 if run.size > 16 else 500))
    lines = {run.size: in_a_line(run, actual.plan, tmp_path / run.path) for run in actual.plan.runs()}
    assert lines[256] == "batch size 256, lr 0.1, seed 0: 1 at step 178, 45,600 examples, 2.12 s"
    assert lines[16].startswith("batch size 16, lr 0.1, seed 0: 1 not reached, lowest loss 1.6")
    assert "(median of 3) in " in lines[16]


def test_losses_that_are_no_numbers_leave_the_rest_readable(tmp_path):
    actual = results(
        tmp_path,
        lambda run: diverged(make_run(run.size, 90)) if run.size == 1024 else make_run(run.size, steps_of(run.size)),
    )
    assert actual.whole["fixed"].points[-1].regime == "diverged"
    assert math.isfinite(actual.whole["fixed"].critical_batch_size_cost.value)
    assert "diverged at step" in in_a_line(actual.plan.runs()[0], actual.plan, tmp_path / actual.plan.runs()[0].path)
