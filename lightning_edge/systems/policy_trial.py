"""Key-frame policies on the same labelled video, compared at equal cost."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from lightning_edge.contracts import VideoNet
from lightning_edge.ops.iou import confusion_matrix, mean_iou
from lightning_edge.systems.keyframes import KeyframePolicy
from lightning_edge.systems.video_stream import VideoStream
from lightning_edge.timing import Estimate

LabelledVideo = Iterable[tuple[Tensor, Tensor]]
"""Frames ``[3, height, width]`` in [0, 1], each with its mask ``[height, width]``."""


@dataclass(frozen=True)
class PolicyTrial:
    """What a net gave with one policy, drive by drive.

    Attributes:
        confusion: Counts of true (rows) and predicted classes (columns).
        num_keyframes: Key frames.
        num_frames: All frames.
    """

    confusion: Int[np.ndarray, "drives classes classes"]
    num_keyframes: Int[np.ndarray, " drives"]
    num_frames: Int[np.ndarray, " drives"]

    @property
    def miou(self) -> float:
        """Mean IoU over all frames of all drives, in [0, 1]."""
        return float(self.mious(np.ones((1, len(self.num_frames)), dtype=np.int64))[0])

    @property
    def keyframe_share(self) -> float:
        """Key frames over frames."""
        return float(self.num_keyframes.sum() / self.num_frames.sum())

    def mious(self, weights: Int[np.ndarray, "samples drives"]) -> np.ndarray:
        """Mean IoU of samples in which a drive occurs as often as its weight says."""
        confusion = np.tensordot(weights, self.confusion, axes=1)
        return mean_iou(torch.from_numpy(confusion)).numpy()

    def keyframe_shares(self, weights: Int[np.ndarray, "samples drives"]) -> np.ndarray:
        """Key frames over frames in such samples."""
        return (weights @ self.num_keyframes) / (weights @ self.num_frames)


def try_policies(
    net: VideoNet, policies: Mapping[str, int | KeyframePolicy], drives: Iterable[LabelledVideo], num_classes: int
) -> dict[str, PolicyTrial]:
    """Run a net over labelled drives, joined to one stream, with each policy.

    Args:
        net: The net in evaluation mode.
        policies: What decides on key frames, as ``VideoStream`` takes it.
        drives: One video after the other, each begun by a cut.
        num_classes: Number of classes.
    """
    streams = {name: VideoStream(net, policy) for name, policy in policies.items()}
    drives_of: dict[str, list[_Drive]] = {name: [] for name in streams}
    for drive in drives:
        found = {name: _Drive(num_classes) for name in streams}
        for frame, mask in drive:
            for name, stream in streams.items():
                found[name].count(stream(frame), mask, stream.is_keyframe)
        for name, each in found.items():
            drives_of[name].append(each)
    return {
        name: PolicyTrial(
            np.stack([each.confusion.numpy() for each in found]),
            np.array([each.num_keyframes for each in found]),
            np.array([each.num_frames for each in found]),
        )
        for name, found in drives_of.items()
    }


class _Drive:
    """What one policy gave on one drive so far."""

    def __init__(self, num_classes: int) -> None:
        self.confusion = torch.zeros(num_classes, num_classes, dtype=torch.int64)
        self.num_keyframes = self.num_frames = 0

    def count(self, prediction: Tensor, mask: Tensor, is_keyframe: bool) -> None:
        self.confusion += confusion_matrix(prediction, mask, len(self.confusion))
        self.num_keyframes += is_keyframe
        self.num_frames += 1


def gain_at_equal_cost(
    trial: PolicyTrial, fixed: Sequence[PolicyTrial], num_samples: int = 4000, seed: int = 0
) -> Estimate:
    """By how much a policy's mean IoU exceeds that of fixed intervals with as many key frames.

    Between two fixed intervals accuracy is interpolated in the share of key frames, in which the mean latency is
    linear. The 95 % interval is that of a bootstrap over drives, the same ones for all policies.

    Args:
        trial: The policy.
        fixed: Fixed intervals with fewer and with more key frames, tried on the same drives.
        num_samples: Samples of the bootstrap.
        seed: Of the samples.

    Raises:
        ValueError: If the fixed intervals do not enclose the policy's share of key frames.
    """
    shares = sorted(each.keyframe_share for each in fixed)
    if not shares[0] <= trial.keyframe_share <= shares[-1]:
        raise ValueError(
            f"expected fixed intervals with fewer and with more key frames than {trial.keyframe_share:.3f} of all "
            f"frames, got {shares[0]:.3f} to {shares[-1]:.3f}"
        )
    num_drives = len(trial.num_frames)
    drawn = np.random.default_rng(seed).multinomial(num_drives, [1 / num_drives] * num_drives, num_samples)
    gains = _gains(trial, fixed, np.vstack([np.ones(num_drives, dtype=np.int64), drawn]))
    return Estimate(float(gains[0]), *np.quantile(gains[1:], (0.025, 0.975)).tolist())


def _gains(trial: PolicyTrial, fixed: Sequence[PolicyTrial], weights: np.ndarray) -> np.ndarray:
    by_share = sorted(fixed, key=lambda each: each.keyframe_share)
    shares = np.array([each.keyframe_shares(weights) for each in by_share])
    mious = np.array([each.mious(weights) for each in by_share])
    own = trial.keyframe_shares(weights)
    matched = [np.interp(own[i], shares[:, i], mious[:, i]) for i in range(len(own))]
    return trial.mious(weights) - np.array(matched)
