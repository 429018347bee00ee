import pytest

from lightning_edge.methods import StepSchedule


def test_steps_of_the_released_code():
    """Stage 1 lowers the rate tenfold at 40.336 of 53 epochs; stage 2, as long, begins anew."""
    schedule = StepSchedule(at=[0.38, 0.5], factors=[1.0, 0.1, 1.0], warmup=0.1)
    shares = [0.0, 0.05, 0.1, 0.37, 0.38, 0.49, 0.5, 1.0]
    assert [schedule(share) for share in shares] == pytest.approx([0.1, 0.55, 1, 1, 0.1, 0.1, 1, 1])


def test_constant_by_default():
    assert StepSchedule()(0.0) == StepSchedule()(1.0) == 1.0


@pytest.mark.parametrize(("at", "factors"), [([0.5, 0.4], [1, 1, 1]), ([1.5], [1, 1]), ([0.5], [1.0])])
def test_nonsense_is_refused(at, factors):
    with pytest.raises(ValueError, match="expected"):
        StepSchedule(at, factors)
