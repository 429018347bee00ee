"""Key-frame policies on the same labeled video, compared at equal cost."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from lightning_edge.contracts import VideoNet
from lightning_edge.ops.iou import class_iou, confusion_matrix
from lightning_edge.systems.streaming.keyframes import KeyframePolicy
from lightning_edge.systems.streaming.video_stream import VideoStream
from lightning_edge.timing import Estimate, num_samples_needed

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
        """Mean IoU over all frames of all drives, in [0, 1], of the classes that occur in the truth."""
        return float(self.mious(np.ones((1, len(self.num_frames)), dtype=np.int64))[0])

    @property
    def keyframe_share(self) -> float:
        """Key frames over frames."""
        return float(self.num_keyframes.sum() / self.num_frames.sum())

    def mious(self, weights: Int[np.ndarray, "samples drives"]) -> np.ndarray:
        """Mean IoU of samples in which a drive occurs as often as its weight says.

        Over the classes that are true somewhere in the sample, which are the same for all policies: one that a net only
        predicts would count as 0 for this policy and not at all for another.
        """
        confusion = torch.from_numpy(np.tensordot(weights, self.confusion, axes=1))
        occurs = confusion.sum(-1) > 0
        return class_iou(confusion).where(occurs, torch.nan).nanmean(-1).double().numpy()

    def keyframe_shares(self, weights: Int[np.ndarray, "samples drives"]) -> np.ndarray:
        """Key frames over frames in such samples."""
        return (weights @ self.num_keyframes) / (weights @ self.num_frames)


def try_policies(
    net: VideoNet, policies: Mapping[str, int | KeyframePolicy], drives: Iterable[LabelledVideo], num_classes: int
) -> dict[str, PolicyTrial]:
    """Run a net over labeled drives, joined to one stream, with each policy.

    Args:
        net: The net in evaluation mode.
        policies: What decides on key frames, as ``VideoStream`` takes it.
        drives: One video after the other; each begins with a key frame, while a policy goes on as it was.
        num_classes: Number of classes.

    Raises:
        ValueError: If there are no drives.
    """
    streams = {name: VideoStream(net, policy) for name, policy in policies.items()}
    drives_of: dict[str, list[_Drive]] = {name: [] for name in streams}
    for drive in drives:
        found = {name: _Drive(num_classes) for name in streams}
        for index, (frame, mask) in enumerate(drive):
            for name, stream in streams.items():
                found[name].count(stream(frame, index), mask, stream.is_keyframe)
        for name, each in found.items():
            drives_of[name].append(each)
    if not all(drives_of.values()):
        raise ValueError("expected at least one of drives, got none")
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
    linear. The 95 % interval is that of a bootstrap over drives (percentiles), the same drives for all policies, as if
    drives were independent; a policy that saves key frames in one and spends them in another makes them less so.

    Args:
        trial: The policy.
        fixed: Fixed intervals with fewer and with more key frames, tried on the same drives.
        num_samples: Samples of the bootstrap.
        seed: Of the samples.

    Raises:
        ValueError: If there are too few drives for an interval, trials of other drives, or fixed intervals that do not
            enclose the policy's share of key frames, in 99 of 100 samples too.
    """
    num_drives = len(trial.num_frames)
    if num_drives < num_samples_needed(50):
        raise ValueError(f"expected at least {num_samples_needed(50)} drives for an interval, got {num_drives}")
    if any(not np.array_equal(each.confusion.sum(2), trial.confusion.sum(2)) for each in fixed):
        raise ValueError("expected fixed intervals tried on the same drives, got others")
    drawn = np.random.default_rng(seed).multinomial(num_drives, [1 / num_drives] * num_drives, num_samples)
    weights = np.vstack([np.ones(num_drives, dtype=np.int64), drawn])
    own = trial.keyframe_shares(weights)
    by_share = sorted(fixed, key=lambda each: each.keyframe_share)
    shares = np.array([each.keyframe_shares(weights) for each in by_share]).reshape(-1, len(weights))
    is_enclosed = np.any(shares <= own, axis=0) & np.any(shares >= own, axis=0)
    if not is_enclosed[0] or np.mean(is_enclosed) < 0.99:
        raise ValueError(
            f"expected fixed intervals with clearly fewer and more key frames than {own[0]:.3f} of all frames, "
            f"got {[round(float(share), 3) for share in shares[:, 0]]}"
        )
    mious = np.array([each.mious(weights) for each in by_share])
    matched = [np.interp(own[i], shares[:, i], mious[:, i]) for i in range(len(own))]
    gains = trial.mious(weights) - np.array(matched)
    return Estimate(float(gains[0]), *np.quantile(gains[1:], (0.025, 0.975)).tolist())
