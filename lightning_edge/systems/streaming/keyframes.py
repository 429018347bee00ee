"""Policies that select the key frames of a stream."""

import math
from typing import Protocol, SupportsIndex, runtime_checkable

from lightning_edge.checks import check_at_least


@runtime_checkable
class KeyframePolicy(Protocol):
    """Selects key frames; a stream calls it once for each frame."""

    def reset(self) -> None:
        """Start a new stream."""
        ...

    def is_keyframe(self, num_frames: int, change: float, is_forced: bool) -> bool:
        """Whether a frame is a key frame.

        Args:
            num_frames: Number of frames since the last key frame, including this one and dropped ones.
            change: Mean change of brightness since the previous frame, in [0, 1].
            is_forced: Whether the frame must be a key frame, because it is the first of a stream, follows a cut, or has
                another size than the previous one.
        """
        ...


def interval_within(budget_ms: float, key_ms: float, non_keyframe_ms: float) -> float:
    """Mean number of frames from key frame to key frame at which the mean latency meets a budget, at least 1.

    Args:
        budget_ms: Budget for the mean latency of a frame, in milliseconds.
        key_ms: Latency of a key frame, in milliseconds, such as ``key_ms`` in ``tradeoff.csv``.
        non_keyframe_ms: Latency of any other frame, in milliseconds, such as ``non_keyframe_ms`` in ``tradeoff.csv``.

    Raises:
        ValueError: No interval is fast enough.
    """
    if not budget_ms > non_keyframe_ms:  # also raises for NaN, which tradeoff.csv has at interval 1
        raise ValueError(f"expected budget_ms above non_keyframe_ms ({non_keyframe_ms}), got {budget_ms}")
    return max(1.0, (key_ms - non_keyframe_ms) / (budget_ms - non_keyframe_ms))


class FixedInterval(KeyframePolicy):
    """Selects a key frame every ``interval`` frames.

    Args:
        interval: Number of frames from key frame to key frame. With 1, every frame is a key frame.
    """

    def __init__(self, interval: int) -> None:
        if not isinstance(interval, SupportsIndex) or interval < 1:
            raise ValueError(f"expected interval as a whole number of frames from 1, got {interval!r}")
        self.interval = interval

    def reset(self) -> None:
        """Do nothing, because this policy has no state."""

    def is_keyframe(self, num_frames: int, change: float, is_forced: bool) -> bool:
        """Whether the interval has passed since the last key frame."""
        del change
        return is_forced or num_frames >= self.interval


class AdaptiveInterval(KeyframePolicy):
    """Selects key frames more often while the image changes faster, at a given mean interval.

    Suppose the error of propagated features grows in proportion to the change since the key frame. Then, for a given
    number of key frames, the mean error is smallest if the density of key frames is proportional to the square root of
    the change per frame. So a key frame is due when the sum of these square roots reaches ``mean_interval`` times their
    running mean.

    Each frame adds ``1 / mean_interval`` of a key frame to a balance, and each key frame takes one from it. A positive
    balance lowers the threshold and a negative one raises it. Once ``reserve`` is overspent, a frame is a key frame
    only if it is forced or ``longest`` is reached. So in the long run there are as many key frames as at a fixed
    interval, however the scene changes. The property ``saving`` estimates the gain, which is zero if the scene changes
    evenly.

    Args:
        mean_interval: Mean number of frames from key frame to key frame.
        longest: Number of frames after which there is always a key frame, even in a static scene. ``None`` allows four
            times as many frames between two key frames as on average.
        reserve: Number of key frames that can be saved or overspent.
        memory: Number of frames that the running mean covers. It should be longer than calm and busy periods of the
            scene.
    """

    def __init__(
        self, mean_interval: float, longest: int | None = None, reserve: float = 50.0, memory: int = 5000
    ) -> None:
        check_at_least(1, mean_interval=mean_interval)
        if mean_interval == math.inf:
            raise ValueError("expected mean_interval to be finite, got inf")
        self.mean_interval = mean_interval
        self.longest = 1 + math.ceil(4 * (mean_interval - 1)) if longest is None else longest
        if self.longest < mean_interval:
            raise ValueError(f"expected longest of at least mean_interval ({mean_interval}), got {longest}")
        check_at_least(1, reserve=reserve, memory=memory)
        self.reserve = reserve
        self.memory = memory
        self.reset()

    def reset(self) -> None:
        """Reset the running mean, the balance of key frames and the estimated saving."""
        self._mean, self._num_seen = 0.0, 0
        self._since_key, self._balance = 0.0, 0.0
        self._own, self._fixed, self._until_fixed = _PropagationError(), _PropagationError(), self.mean_interval

    @property
    def saving(self) -> float:
        """Share of the propagation error saved so far, compared with a fixed interval with as many key frames.

        The estimate takes the change since the key frame as the error, so it needs no labels and no trained net. It is
        negative if the error of the fixed interval would have been smaller.
        """
        return 1 - self._own.total / self._fixed.total if self._fixed.total > 0 else 0.0

    def is_keyframe(self, num_frames: int, change: float, is_forced: bool) -> bool:
        """Whether the scene has changed enough."""
        self._balance = min(self._balance + 1 / self.mean_interval, self.reserve)
        if not is_forced:
            self._follow(math.sqrt(change))
        threshold = self.mean_interval * self._mean * math.exp(-self._balance / self.reserve)
        is_due = self._since_key >= threshold > 0 and self._balance > -self.reserve
        is_key = is_forced or is_due or num_frames >= self.longest
        if is_key:
            self._since_key = 0.0
            self._balance -= 1
        self._compare(change, is_key, is_forced)
        return is_key

    def _follow(self, root: float) -> None:
        self._num_seen = min(self._num_seen + 1, self.memory)
        self._mean += (root - self._mean) / self._num_seen
        self._since_key += root

    def _compare(self, change: float, is_key: bool, is_forced: bool) -> None:
        self._own.count(change, is_key)
        self._until_fixed = self.mean_interval if is_forced else self._until_fixed - 1
        is_fixed_key = is_forced or self._until_fixed <= 0
        if self._until_fixed <= 0:
            self._until_fixed += self.mean_interval
        self._fixed.count(change, is_fixed_key)


class _PropagationError:
    """Error of propagation, taken to be the change since the key frame, summed over frames."""

    def __init__(self) -> None:
        self._since_key = self.total = 0.0

    def count(self, change: float, is_key: bool) -> None:
        self._since_key = 0.0 if is_key else self._since_key + change
        self.total += self._since_key
