"""Policies side by side: counted by hand, and compared at equal cost on numbers whose answer is known."""

import numpy as np
import pytest
import torch
from torch import nn
from torchmetrics.functional.classification import multiclass_jaccard_index

from lightning_edge.analysis.keyframe_policies import PolicyTrial, gain_at_equal_cost, try_policies
from lightning_edge.systems import AdaptiveInterval, VideoStream

NUM_CLASSES = 3


class HoldsItsKeyFrame(nn.Module):
    """Sees classes by their brightness on key frames, and holds them until the next one."""

    def start(self, frame):
        return frame

    def advance(self, state, frame):
        return state

    def logits(self, state):
        levels = torch.linspace(0, 1, NUM_CLASSES).view(1, -1, 1, 1)
        return -(state[:, :1] - levels).abs()


def drive(seed, num_frames=8, moves=True):
    """Frames as bright as their classes, a corner of which changes from one to the next: too little for a cut."""
    generator = torch.Generator().manual_seed(seed)
    mask = torch.randint(0, NUM_CLASSES, (16, 16), generator=generator)
    for _ in range(num_frames):
        if moves:
            mask = mask.clone()
            mask[:4, :4] = torch.randint(0, NUM_CLASSES, (4, 4), generator=generator)
        labels = mask.clone()
        labels[-1, -1] = 255
        yield (mask / (NUM_CLASSES - 1)).expand(3, 16, 16), labels


def test_drives_are_counted_one_by_one_and_begin_with_a_key_frame():
    policies = {"every": 1, "third": 3}
    drives = [list(drive(0)), list(drive(1)), list(drive(2, moves=False))]
    actual = try_policies(HoldsItsKeyFrame(), policies, drives, NUM_CLASSES)
    assert actual["every"].num_keyframes.tolist() == actual["every"].num_frames.tolist() == [8, 8, 8]
    assert actual["third"].num_keyframes.tolist() == [3, 3, 3]  # the ninth frame does not wait for the tenth
    assert actual["every"].miou == 1
    assert actual["third"].keyframe_share == pytest.approx(3 / 8)
    predicted, true = [], []
    for each in drives:
        stream = VideoStream(HoldsItsKeyFrame(), 3)
        predicted.extend(stream(frame) for frame, _ in each)
        true.extend(mask for _, mask in each)
    expected = multiclass_jaccard_index(torch.stack(predicted), torch.stack(true), NUM_CLASSES, ignore_index=255)
    assert actual["third"].miou == pytest.approx(expected.item())
    assert actual["third"].mious(np.array([[0, 0, 1]]))[0] == 1  # nothing moves in the third
    assert actual["third"].mious(np.array([[1, 0, 1]]))[0] < 1


def test_drives_that_look_alike_do_not_run_into_each_other():
    still = list(drive(0, moves=False))
    assert try_policies(HoldsItsKeyFrame(), {"a": 100}, [still, still], NUM_CLASSES)["a"].num_keyframes.tolist() == [
        1,
        1,
    ]


def test_policies_do_not_share_a_stream():
    drives = [list(drive(0, 60))]
    alone = try_policies(HoldsItsKeyFrame(), {"a": AdaptiveInterval(4)}, drives, NUM_CLASSES)["a"]
    beside = try_policies(HoldsItsKeyFrame(), {"a": AdaptiveInterval(4), "b": 2}, drives, NUM_CLASSES)["a"]
    assert 10 < alone.num_keyframes[0] < 25
    assert (alone.confusion == beside.confusion).all()
    assert (alone.num_keyframes == beside.num_keyframes).all()


def test_no_drives_are_refused():
    with pytest.raises(ValueError, match="expected at least one drive in drives, got none"):
        try_policies(HoldsItsKeyFrame(), {"a": 2}, [], NUM_CLASSES)


def trial(ious, num_keyframes, num_frames=100):
    """Two classes of 100 pixels each in every drive, with a given IoU of both: hits h give h / (200 - h)."""
    confusions = []
    for iou in ious:
        hits = round(200 * iou / (1 + iou))
        confusions.append([[hits, 100 - hits], [100 - hits, hits]])
    counts = np.broadcast_to(num_keyframes, len(ious)).copy()
    return PolicyTrial(np.array(confusions), counts, np.full(len(ious), num_frames))


def test_the_gain_is_over_fixed_intervals_of_the_same_share():
    few, many = trial([1 / 3] * 6, 10), trial([1] * 6, 30)
    gain = gain_at_equal_cost(trial([1] * 6, 25), [many, few])
    assert gain.value == pytest.approx(1 - (1 / 3 + 0.75 * 2 / 3))
    assert gain.low == pytest.approx(gain.value)  # all drives alike
    assert gain_at_equal_cost(many, [few, many]).value == pytest.approx(0)


def test_the_interval_covers_what_drives_differ_by():
    few, many = trial([0.3, 0.5, 0.4, 0.45, 0.35, 0.6], 20), trial([0.31, 0.51, 0.41, 0.46, 0.36, 0.61], 40)
    steady = gain_at_equal_cost(trial([0.37, 0.57, 0.47, 0.52, 0.42, 0.67], 30), [few, many])
    mixed = gain_at_equal_cost(trial([0.6, 0.5, 0.3, 0.4, 0.3, 0.7], 30), [few, many])
    assert 0 < steady.low <= steady.value <= steady.high
    assert mixed.low < 0 < mixed.high
    assert mixed.high - mixed.low > 3 * (steady.high - steady.low)


def test_key_frames_that_a_policy_spends_in_some_drives_only_widen_the_interval():
    few, many = trial([0.2] * 6, 0), trial([0.6] * 6, 80)
    even = gain_at_equal_cost(trial([0.4] * 6, 40), [few, many])
    uneven = gain_at_equal_cost(trial([0.4] * 6, [20, 60, 20, 60, 20, 60]), [few, many])
    assert even.value == pytest.approx(uneven.value) == pytest.approx(0, abs=0.01)
    assert even.high - even.low == pytest.approx(0)
    # a share of 0.2 to 0.6 is worth an mIoU of 0.3 to 0.5; six drives of it have a deviation of a twelfth of a share
    assert uneven.high - uneven.low == pytest.approx(2 * 1.96 * 0.5 * 0.2 / 6**0.5, rel=0.25)


def test_a_class_counts_where_it_is_true():
    """A stray pixel of a class that a sample lacks would be 0 for one policy and nothing for the other."""
    clean = np.tile(np.array([[50, 0, 0], [0, 50, 0], [0, 0, 0]]), (8, 1, 1))
    clean[0, 2, 2] = 10
    stray = clean.copy()
    stray[1, 0] = [49, 0, 1]
    counts, frames = np.full(8, 20), np.full(8, 100)
    one, other = PolicyTrial(stray, counts, frames), PolicyTrial(clean, counts, frames)
    gain = gain_at_equal_cost(one, [other, other])
    assert -0.1 < gain.low < gain.value < 0  # a third less where it would be 0
    assert other.miou == 1


@pytest.mark.parametrize(
    ("policy", "fixed", "message"),
    [
        (trial([0.5] * 6, 40), [trial([0.4] * 6, 10), trial([0.6] * 6, 30)], r"more key frames than 0\.400 of all"),
        (
            trial([0.5] * 6, [10, 50] * 3),
            [trial([0.4] * 6, 29), trial([0.6] * 6, 31)],
            "clearly fewer and clearly more",
        ),
        (trial([0.5] * 6, 40), [], r"0\.400 of all frames, got \[\]"),
        (trial([0.5] * 5, 40), [], "at least 6 drives for an interval, got 5"),
        (trial([0.5] * 6, 40), [trial([0.5] * 7, 40)], "on the same drives, got results on other drives"),
    ],
)
def test_what_cannot_be_compared_is_refused(policy, fixed, message):
    with pytest.raises(ValueError, match=message):
        gain_at_equal_cost(policy, fixed)
