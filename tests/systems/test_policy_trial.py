"""Policies side by side: counted by hand, and compared at equal cost on numbers whose answer is known."""

import numpy as np
import pytest
import torch
from torch import nn
from torchmetrics.functional.classification import multiclass_jaccard_index

from lightning_edge.systems import AdaptiveInterval, VideoStream
from lightning_edge.systems.policy_trial import PolicyTrial, gain_at_equal_cost, try_policies

NUM_CLASSES = 3


class HoldsItsKeyFrame(nn.Module):
    """Gives the key frame's classes until the next one: a channel of the frame for each class."""

    def start(self, frame):
        return frame

    def advance(self, state, frame):
        return state

    def scores(self, state):
        return state


def drive(seed, num_frames=9, moves=True):
    """Classes that are seen as they are; each frame shows others where the drive moves."""
    generator = torch.Generator().manual_seed(seed)
    for index in range(num_frames):
        if index == 0 or moves:
            mask = torch.randint(0, NUM_CLASSES, (16, 16), generator=generator)
        shown = nn.functional.one_hot(mask, NUM_CLASSES).permute(2, 0, 1).float()
        labels = mask.clone()
        labels[0, 0] = 255
        yield shown, labels


def test_drives_are_counted_one_by_one():
    policies = {"every": 1, "third": 3}
    drives = [list(drive(0)), list(drive(1)), list(drive(2, moves=False))]
    found = try_policies(HoldsItsKeyFrame(), policies, drives, NUM_CLASSES)
    assert found["every"].num_keyframes.tolist() == found["every"].num_frames.tolist() == [9, 9, 9]
    assert found["third"].num_keyframes.tolist() == [3, 3, 3]
    assert found["every"].miou == 1
    assert found["third"].keyframe_share == pytest.approx(1 / 3)
    stream = VideoStream(HoldsItsKeyFrame(), 3)
    predicted = torch.stack([stream(frame) for each in drives for frame, _ in each])
    true = torch.stack([mask for each in drives for _, mask in each])
    expected = multiclass_jaccard_index(predicted, true, NUM_CLASSES, ignore_index=255)
    assert found["third"].miou == pytest.approx(expected.item())
    assert found["third"].mious(np.array([[0, 0, 1]]))[0] == 1  # nothing moves in the third


def test_policies_do_not_share_a_stream():
    drives = [list(drive(0, 30))]
    alone = try_policies(HoldsItsKeyFrame(), {"a": AdaptiveInterval(4)}, drives, NUM_CLASSES)["a"]
    beside = try_policies(HoldsItsKeyFrame(), {"a": AdaptiveInterval(4), "b": 2}, drives, NUM_CLASSES)["a"]
    assert (alone.confusion == beside.confusion).all()
    assert (alone.num_keyframes == beside.num_keyframes).all()


def trial(ious, num_keyframes, num_frames=100):
    """Two classes of 100 pixels each in every drive, with a given IoU of both: hits h give h / (200 - h)."""
    confusions = []
    for iou in ious:
        hits = round(200 * iou / (1 + iou))
        confusions.append([[hits, 100 - hits], [100 - hits, hits]])
    num_drives = len(ious)
    return PolicyTrial(np.array(confusions), np.full(num_drives, num_keyframes), np.full(num_drives, num_frames))


def test_the_gain_is_over_fixed_intervals_of_the_same_share():
    few, many = trial([1 / 3] * 4, 10), trial([1] * 4, 30)
    gain = gain_at_equal_cost(trial([1] * 4, 25), [many, few])
    assert gain.value == pytest.approx(1 - (1 / 3 + 0.75 * 2 / 3))
    assert gain.low == pytest.approx(gain.value)  # all drives alike
    assert gain_at_equal_cost(many, [few, many]).value == pytest.approx(0)


def test_the_interval_covers_what_drives_differ_by():
    few, many = trial([0.3, 0.5, 0.4, 0.45], 20), trial([0.31, 0.51, 0.41, 0.46], 40)
    steady = gain_at_equal_cost(trial([0.37, 0.57, 0.47, 0.52], 30), [few, many])
    mixed = gain_at_equal_cost(trial([0.6, 0.5, 0.3, 0.4], 30), [few, many])
    assert 0 < steady.low <= steady.value <= steady.high
    assert mixed.low < 0 < mixed.high
    assert mixed.high - mixed.low > 3 * (steady.high - steady.low)


def test_other_costs_are_not_compared():
    few, many = trial([0.4] * 4, 10), trial([0.6] * 4, 30)
    with pytest.raises(ValueError, match=r"fewer and with more key frames than 0\.400 of all frames, got 0\.100 to"):
        gain_at_equal_cost(trial([0.5] * 4, 40), [few, many])
