"""Which frames of a stream are key frames."""

import math
from typing import Protocol, SupportsIndex, runtime_checkable


@runtime_checkable
class KeyframePolicy(Protocol):
    """Decides on key frames; a stream asks it once for each frame."""

    def reset(self) -> None:
        """Forget the past: a new stream begins."""
        ...

    def is_keyframe(self, num_frames: int, change: float, is_forced: bool) -> bool:
        """Whether a frame is a key frame.

        Args:
            num_frames: Frames since the last key frame, this one and dropped ones included.
            change: Mean change of brightness since the frame before, in [0, 1].
            is_forced: Whether it has to be one: the first of a stream, after a cut, of another size than before.
        """
        ...


def interval_within(budget_ms: float, key_ms: float, carried_ms: float) -> float:
    """Mean number of frames from key frame to key frame at which the mean latency is a budget, at least 1.

    Args:
        budget_ms: Mean time a frame, milliseconds.
        key_ms: Time of a key frame, as ``tradeoff.csv`` has it.
        carried_ms: Time of any other frame.

    Raises:
        ValueError: if no interval is so fast.
    """
    if not budget_ms > carried_ms:  # nor NaN, which tradeoff.csv has at interval 1
        raise ValueError(f"expected budget_ms above carried_ms ({carried_ms}), got {budget_ms}")
    return max(1.0, (key_ms - carried_ms) / (budget_ms - carried_ms))


class FixedInterval(KeyframePolicy):
    """A key frame every so many frames.

    Args:
        interval: Frames from key frame to key frame; 1 makes every frame one.
    """

    def __init__(self, interval: int) -> None:
        if not isinstance(interval, SupportsIndex) or interval < 1:
            raise ValueError(f"expected interval as a whole number of frames from 1, got {interval!r}")
        self.interval = interval

    def reset(self) -> None:
        """Nothing is remembered."""

    def is_keyframe(self, num_frames: int, change: float, is_forced: bool) -> bool:
        """Whether the interval has passed."""
        del change
        return is_forced or num_frames >= self.interval


class AdaptiveInterval(KeyframePolicy):
    """Key frames closer together where the picture changes more, at a given mean interval.

    If what is carried grows worse in proportion to the change since the key frame, the mean error at a given number of
    key frames is least where they come in proportion to the square root of the change per frame. So a key frame is due
    when the sum of these roots reaches ``mean_interval`` times their running mean. A frame earns ``1 / mean_interval``
    of a key frame; what was saved lowers the bar, what was overspent raises it, and past ``reserve`` only ``longest``
    makes one. So in the long run there are as many as at a fixed interval, however the scene changes. How much is to be
    gained is told by ``saving``: nothing where the scene changes evenly.

    Args:
        mean_interval: Mean number of frames from key frame to key frame.
        longest: Frames after which a key frame comes in any case, standing scenes included; if ``None``, four times as
            many between two as on average.
        reserve: Key frames that can be saved or overspent.
        memory: Frames over which the running mean forgets; longer than the scene's calm and busy times.
    """

    def __init__(
        self, mean_interval: float, longest: int | None = None, reserve: float = 50.0, memory: int = 5000
    ) -> None:
        if not 1 <= mean_interval < math.inf:
            raise ValueError(f"expected mean_interval of at least 1 frame, got {mean_interval}")
        self.mean_interval = mean_interval
        self.longest = 1 + math.ceil(4 * (mean_interval - 1)) if longest is None else longest
        if self.longest < mean_interval:
            raise ValueError(f"expected longest of at least mean_interval ({mean_interval}), got {longest}")
        for name, value in (("reserve", reserve), ("memory", memory)):
            if value < 1:
                raise ValueError(f"expected {name} of at least 1, got {value}")
        self.reserve = reserve
        self.memory = memory
        self.reset()

    def reset(self) -> None:
        """Forget how much the scene changes and what was saved."""
        self._mean, self._num_seen = 0.0, 0
        self._since_key, self._saved = 0.0, 0.0
        self._own, self._fixed, self._until_fixed = _Loss(), _Loss(), self.mean_interval

    @property
    def saving(self) -> float:
        """Share of what carrying loses that was saved so far against a fixed interval of as many key frames.

        An estimate that needs no labels and no trained net, for it takes the change since the key frame for the loss;
        below 0 where the fixed interval would have lost less.
        """
        return 1 - self._own.lost / self._fixed.lost if self._fixed.lost > 0 else 0.0

    def is_keyframe(self, num_frames: int, change: float, is_forced: bool) -> bool:
        """Whether the scene has changed enough."""
        self._saved = min(self._saved + 1 / self.mean_interval, self.reserve)
        if not is_forced:
            self._follow(math.sqrt(change))
        bar = self.mean_interval * self._mean * math.exp(-self._saved / self.reserve)
        is_due = self._since_key >= bar > 0 and self._saved > -self.reserve
        is_key = is_forced or is_due or num_frames >= self.longest
        if is_key:
            self._since_key = 0.0
            self._saved -= 1
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


class _Loss:
    """What carrying loses, taken for the change since the key frame, summed over frames."""

    def __init__(self) -> None:
        self._since_key = self.lost = 0.0

    def count(self, change: float, is_key: bool) -> None:
        self._since_key = 0.0 if is_key else self._since_key + change
        self.lost += self._since_key
