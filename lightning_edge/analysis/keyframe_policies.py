"""Compare key-frame policies on the same labeled videos at equal cost."""

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

LabeledVideo = Iterable[tuple[Tensor, Tensor]]
"""Frames ``[3, height, width]`` in [0, 1], each with its mask ``[height, width]``."""


@dataclass(frozen=True)
class PolicyTrial:
    """Results of a net with one policy, for each drive.

    Attributes:
        confusion: Numbers of pixels by true class (rows) and predicted class (columns).
        num_keyframes: Number of key frames.
        num_frames: Number of all frames.
    """

    confusion: Int[np.ndarray, "drives classes classes"]
    num_keyframes: Int[np.ndarray, " drives"]
    num_frames: Int[np.ndarray, " drives"]

    @property
    def miou(self) -> float:
        """Mean IoU over all frames of all drives, in [0, 1], of the classes that occur in the labels."""
        return float(self.mious(np.ones((1, len(self.num_frames)), dtype=np.int64))[0])

    @property
    def keyframe_share(self) -> float:
        """Number of key frames divided by the number of frames."""
        return float(self.num_keyframes.sum() / self.num_frames.sum())

    def mious(self, weights: Int[np.ndarray, "samples drives"]) -> np.ndarray:
        """Mean IoU of each sample of drives; the weight of a drive is how often it occurs in the sample.

        The mean is over the classes that occur in the labels of the sample, which are the same for all policies. A
        class that occurs only in predictions would count as 0 for one policy and not at all for another.
        """
        confusion = torch.from_numpy(np.tensordot(weights, self.confusion, axes=1))
        occurs = confusion.sum(-1) > 0
        return class_iou(confusion).where(occurs, torch.nan).nanmean(-1).double().numpy()

    def keyframe_shares(self, weights: Int[np.ndarray, "samples drives"]) -> np.ndarray:
        """Number of key frames divided by the number of frames, in each sample of drives."""
        return (weights @ self.num_keyframes) / (weights @ self.num_frames)


def try_policies(
    net: VideoNet, policies: Mapping[str, int | KeyframePolicy], drives: Iterable[LabeledVideo], num_classes: int
) -> dict[str, PolicyTrial]:
    """Run a net with each policy over labeled drives, which are joined to one stream.

    Args:
        net: Net in evaluation mode.
        policies: Fixed intervals or policies by name, as ``VideoStream`` takes them.
        drives: Labeled videos. Each one starts with a key frame, but the policies are not reset between them.
        num_classes: Number of classes.

    Raises:
        ValueError: There are no drives.
    """
    streams = {name: VideoStream(net, policy) for name, policy in policies.items()}
    drives_of: dict[str, list[_Drive]] = {name: [] for name in streams}
    for drive in drives:
        results = {name: _Drive(num_classes) for name in streams}
        for index, (frame, mask) in enumerate(drive):
            for name, stream in streams.items():
                results[name].count(stream(frame, index), mask, stream.is_keyframe)
        for name, each in results.items():
            drives_of[name].append(each)
    if not all(drives_of.values()):
        raise ValueError("expected at least one drive in drives, got none")
    return {
        name: PolicyTrial(
            np.stack([each.confusion.numpy() for each in results]),
            np.array([each.num_keyframes for each in results]),
            np.array([each.num_frames for each in results]),
        )
        for name, results in drives_of.items()
    }


class _Drive:
    """Results of one policy on one drive so far."""

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
    """Mean IoU of a policy minus that of fixed intervals with the same number of key frames.

    Between two fixed intervals, the accuracy is interpolated in the share of key frames; the mean latency is linear in
    this share. The 95 % interval consists of percentiles of a bootstrap over drives, which draws the same drives for
    all policies. The bootstrap assumes that drives are independent. This holds less well for a policy that saves key
    frames in one drive and spends them in another.

    Args:
        trial: Results of the policy.
        fixed: Results of fixed intervals with fewer and with more key frames, on the same drives.
        num_samples: Number of bootstrap samples.
        seed: Seed for the bootstrap samples.

    Raises:
        ValueError: There are too few drives for an interval, the results are from different drives, or the fixed
            intervals do not enclose the policy's share of key frames, or do so in less than 99 % of the samples.
    """
    num_drives = len(trial.num_frames)
    if num_drives < num_samples_needed(50):
        raise ValueError(f"expected at least {num_samples_needed(50)} drives for an interval, got {num_drives}")
    if any(not np.array_equal(each.confusion.sum(2), trial.confusion.sum(2)) for each in fixed):
        raise ValueError("expected results of fixed intervals on the same drives, got results on other drives")
    drawn = np.random.default_rng(seed).multinomial(num_drives, [1 / num_drives] * num_drives, num_samples)
    weights = np.vstack([np.ones(num_drives, dtype=np.int64), drawn])
    own = trial.keyframe_shares(weights)
    by_share = sorted(fixed, key=lambda each: each.keyframe_share)
    shares = np.array([each.keyframe_shares(weights) for each in by_share]).reshape(-1, len(weights))
    is_enclosed = np.any(shares <= own, axis=0) & np.any(shares >= own, axis=0)
    if not is_enclosed[0] or np.mean(is_enclosed) < 0.99:
        raise ValueError(
            f"expected fixed intervals with clearly fewer and clearly more key frames than {own[0]:.3f} of all "
            f"frames, got {[round(float(share), 3) for share in shares[:, 0]]}"
        )
    mious = np.array([each.mious(weights) for each in by_share])
    fixed_mious = [np.interp(own[i], shares[:, i], mious[:, i]) for i in range(len(own))]
    gains = trial.mious(weights) - np.array(fixed_mious)
    return Estimate(float(gains[0]), *np.quantile(gains[1:], (0.025, 0.975)).tolist())
