import pytest

from lightning_edge.methods import StepSchedule


def test_rate_changes_at_each_step_after_the_warm_up():
    schedule = StepSchedule(at=[0.38, 0.5], factors=[1.0, 0.1, 1.0], warmup=0.1)
    shares = [0.0, 0.05, 0.1, 0.37, 0.38, 0.49, 0.5, 1.0]
    assert [schedule(share) for share in shares] == pytest.approx([0.1, 0.55, 1, 1, 0.1, 0.1, 1, 1])


def test_constant_by_default():
    assert StepSchedule()(0.0) == StepSchedule()(1.0) == 1.0


@pytest.mark.parametrize(("at", "factors"), [([0.5, 0.4], [1, 1, 1]), ([1.5], [1, 1]), ([0.5], [1.0])])
def test_nonsense_is_refused(at, factors):
    with pytest.raises(ValueError, match="expected"):
        StepSchedule(at, factors)
