import numpy as np
import pytest

from lightning_edge.ops.batch_scaling import (
    StepsBySize,
    critical_size_of_noise,
    exponents,
    first_hit,
    fit_steps,
    size_of_cost,
    smoothed,
)


def test_a_falling_curve_is_hit_between_its_evaluations():
    positions, losses = np.array([0.0, 10, 20, 40, 50]), np.array([3.0, 2, 1, 0, -1])
    assert first_hit(positions, losses, 1.5) == 15
    assert first_hit(positions, losses, 0.5) == 30
    assert first_hit(positions[:-1], losses[:-1], 0.5) == float("inf")  # nothing confirms it yet
    assert first_hit(positions[:-1], losses[:-1], 0.5, window=1) == 30
    assert first_hit(positions, losses, 3.5) == 0  # from the start
    assert first_hit(positions, losses, -1) == float("inf")


def test_one_lucky_evaluation_does_not_count():
    positions = np.arange(8.0)
    losses = np.array([3.0, 3, 1, 3, 3, 1, 1, 1])
    assert smoothed(losses, 3).tolist() == [3, 3, 3, 3, 3, 1, 1, 1]
    assert first_hit(positions, losses, 1.0) == 5
    assert first_hit(positions, losses, 1.0, window=1) == 2


def test_medians_at_the_ends_are_of_as_many_on_both_sides():
    losses = np.array([5.0, 1, 4, 2, 3, 0])
    assert smoothed(losses, 5).tolist() == [5, 4, 3, 2, 2, 0]
    assert smoothed(losses[:1], 5).tolist() == [5]


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_a_loss_that_is_no_number_reaches_nothing(broken):
    positions = np.arange(5.0)
    assert first_hit(positions, np.array([2.0, broken, broken, broken, broken]), 1.0) == float("inf")
    assert first_hit(positions, np.array([broken, broken, 0.5, 0.5, 0.5]), 1.0) == 2  # nothing to join


def test_the_curve_is_recovered_and_is_the_known_relation():
    truth = StepsBySize(min_steps=120.0, min_examples=24_000.0)
    sizes = np.array([16.0, 64, 256, 1024])
    steps = truth.steps(sizes)
    actual = fit_steps(sizes, steps, np.zeros(4, bool))
    assert actual == pytest.approx(truth, rel=1e-4)
    assert actual.critical_size == pytest.approx(200, rel=1e-4)
    examples = steps * sizes
    np.testing.assert_allclose((steps / truth.min_steps - 1) * (examples / truth.min_examples - 1), 1)


def test_censored_runs_bound_the_curve_from_below():
    sizes, is_censored = np.array([16.0, 64, 256, 1024]), np.array([False, False, False, True])
    steps = StepsBySize(120.0, 24_000.0).steps(sizes)
    short, long = steps.copy(), steps.copy()
    short[-1], long[-1] = 100, 300  # a training that would have needed 143 was given so many
    assert fit_steps(sizes, short, is_censored) == pytest.approx(StepsBySize(120.0, 24_000.0), rel=1e-4)
    actual = fit_steps(sizes, long, is_censored)
    assert actual is not None
    assert actual.min_steps > 150
    assert fit_steps(sizes[2:], steps[2:], is_censored[2:]) is None  # one size alone


def test_the_size_of_a_cost_lies_on_a_line_in_logarithms():
    sizes, costs = np.array([16.0, 64, 256]), np.array([1.0, 1, 4])
    assert size_of_cost(sizes, costs, 2.0) == pytest.approx(128)
    assert size_of_cost(sizes, costs, 5.0) == float("inf")
    assert size_of_cost(sizes, np.array([1.0, 1, np.inf]), 2.0) == 256  # nothing to join
    assert size_of_cost(sizes, np.array([3.0, 1, 4]), 2.0) == pytest.approx(128)  # where it stays above
    assert np.isnan(size_of_cost(sizes, np.array([1.0, 1, np.nan]), 2.0))
    assert size_of_cost(sizes, np.array([3.0, 3, 3]), 2.0) == 16


def test_exponents_tell_the_regimes():
    sizes = np.array([16.0, 32, 64, 128])
    np.testing.assert_allclose(exponents(sizes, np.array([800.0, 400, 200 * 2**0.5, 200 * 2**0.5])), [1, 0.5, 0])


def test_a_constant_noise_scale_is_the_critical_size():
    assert critical_size_of_noise(np.full(9, 300.0), size=64) == pytest.approx(300)


def test_a_rising_noise_scale_is_weighed_by_progress():
    """Both halves of a training, simulated: steps of any size make 1 / (1 + scale / size) of a step's progress."""
    scales = {1: 100.0, 2: 900.0}  # in the first and second half of the way, which takes 50 ideal steps each
    for size in (8, 64, 512):
        steps = [int(50 * (1 + scale / size)) for scale in scales.values()]
        along = np.repeat(list(scales.values()), steps)
        assert critical_size_of_noise(along, size) == pytest.approx(500, rel=0.02)


def test_noise_that_hides_the_gradient_counts_as_infinite():
    some = critical_size_of_noise(np.array([300.0, 300.0, np.nan]), 64)
    assert some > 300
    assert np.isnan(critical_size_of_noise(np.array([np.nan]), 64))
