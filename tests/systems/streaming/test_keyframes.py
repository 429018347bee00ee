import math
import random
from itertools import pairwise

import pytest

from lightning_edge.systems import AdaptiveInterval, FixedInterval, interval_within


def keyframes(policy, changes, cuts=()):
    """Positions of key frames; the first frame is one."""
    actual = []
    for position, change in enumerate([0.0, *changes]):
        is_forced = position == 0 or position in cuts
        if policy.is_keyframe(position - actual[-1] if actual else 0, change, is_forced):
            actual.append(position)
    return actual


def calm_and_busy(num_frames, calm=0.001, busy=0.016, length=250):
    chance = random.Random(0)
    return [(calm, busy)[position // length % 2] * chance.uniform(0.8, 1.2) for position in range(num_frames)]


def test_even_change_gives_a_fixed_interval():
    assert {b - a for a, b in pairwise(keyframes(AdaptiveInterval(5), [0.01] * 2000)[2:])} <= {4, 5, 6}
    assert keyframes(FixedInterval(5), [0.01] * 12) == [0, 5, 10]


@pytest.mark.parametrize("mean_interval", [1.0, 3.0, 7.5])
def test_the_mean_interval_is_kept_however_the_scene_changes(mean_interval):
    changes = calm_and_busy(15_000)
    actual = keyframes(AdaptiveInterval(mean_interval), changes)
    assert len(changes) / len(actual) == pytest.approx(mean_interval, rel=0.02)


def test_cuts_are_paid_for_by_other_key_frames():
    changes, cuts = calm_and_busy(15_000), set(range(10, 15_000, 40))
    actual = keyframes(AdaptiveInterval(8), changes, cuts)
    assert cuts <= set(actual)
    assert len(changes) / len(actual) == pytest.approx(8, rel=0.02)


def test_busy_times_have_key_frames_in_proportion_to_the_root_of_the_change():
    changes = calm_and_busy(40_000)
    actual = keyframes(AdaptiveInterval(8), changes)
    busy = [position for position in actual if position // 250 % 2 == 1]
    assert len(busy) / (len(actual) - len(busy)) == pytest.approx(4, rel=0.15)  # a change sixteen times as large


def lost(policy, changes):
    """Sum over frames of the change since the key frame."""
    keys, total, since_key = set(keyframes(policy, changes)), 0.0, 0.0
    for position, change in enumerate(changes, 1):
        since_key = 0.0 if position in keys else since_key + change
        total += since_key
    return total


@pytest.mark.parametrize("interval", [2, 5, 10])
def test_saving_is_what_a_fixed_interval_loses_more(interval):
    changes = calm_and_busy(20_000)
    policy = AdaptiveInterval(interval)
    own, fixed = lost(policy, changes), lost(FixedInterval(interval), changes)
    assert policy.saving == pytest.approx(1 - own / fixed)
    assert 0.2 < policy.saving < 0.5


def test_nothing_is_saved_where_change_is_even_nor_where_nothing_is_carried():
    for mean_interval, changes in ((5, [0.01] * 2000), (5, [0.0, 0.02] * 1000), (1, calm_and_busy(2000)), (5, [])):
        policy = AdaptiveInterval(mean_interval)
        keyframes(policy, changes)
        assert abs(policy.saving) < 0.03


def test_a_standing_scene_has_a_key_frame_at_the_longest_interval():
    policy = AdaptiveInterval(4, longest=9)
    keyframes(policy, calm_and_busy(2000))
    actual = keyframes(policy, [0.0] * 40)
    assert max(b - a for a, b in pairwise(actual)) == 9


def test_so_has_one_that_stands_from_the_start():
    assert keyframes(AdaptiveInterval(4, longest=9), [0.0] * 40) == [0, 9, 18, 27, 36]


def test_more_is_never_spent_than_the_reserve_allows():
    policy = AdaptiveInterval(5, reserve=3)
    actual = keyframes(policy, [0.0001] * 200 + [0.05] * 1000)
    for position in range(200, 1200):
        assert sum(p <= position for p in actual) <= position / 5 + 3 + 2


def test_a_budget_is_the_mean_latency():
    interval = interval_within(budget_ms=14.0, key_ms=30.0, non_keyframe_ms=10.0)
    assert (30.0 + (interval - 1) * 10.0) / interval == pytest.approx(14.0)
    assert interval_within(budget_ms=40.0, key_ms=30.0, non_keyframe_ms=10.0) == 1
    for non_keyframe_ms in (10.0, float("nan")):
        with pytest.raises(ValueError, match=r"expected budget_ms above non_keyframe_ms \((10\.0|nan)\), got 9\.0"):
            interval_within(budget_ms=9.0, key_ms=30.0, non_keyframe_ms=non_keyframe_ms)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mean_interval": 0.5}, "expected mean_interval of at least 1, got 0.5"),
        ({"mean_interval": math.nan}, "expected mean_interval of at least 1, got nan"),
        ({"mean_interval": math.inf}, "expected mean_interval to be finite, got inf"),
        ({"mean_interval": 5, "longest": 3}, r"expected longest of at least mean_interval \(5\), got 3"),
        ({"mean_interval": 5, "reserve": 0}, "expected reserve of at least 1, got 0"),
        ({"mean_interval": 5, "memory": 0}, "expected memory of at least 1, got 0"),
    ],
)
def test_arguments_are_checked(arguments, message):
    with pytest.raises(ValueError, match=message):
        AdaptiveInterval(**arguments)


def test_a_new_stream_begins_without_the_past():
    policy, fresh = AdaptiveInterval(5), AdaptiveInterval(5)
    keyframes(policy, calm_and_busy(900))
    policy.reset()
    assert keyframes(policy, calm_and_busy(300)) == keyframes(fresh, calm_and_busy(300))
