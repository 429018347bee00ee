"""The parts of a batch, from the actions that Lightning reports to its profiler.

No hook of a callback runs around the load of a batch and its transfer to the device, but the profiler is notified of
both. The names of its actions contain private names of Lightning, so they are read in this file only.
"""

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Literal

from lightning.pytorch import Trainer
from lightning.pytorch.profilers import Profiler

Part = Literal["load", "transfer", "step"]

_ACTIONS: tuple[tuple[re.Pattern[str], Part], ...] = (
    (re.compile(r"\[_\w+Loop\]\.\w+_next"), "load"),
    (re.compile(r"\[Strategy\]\w+\.batch_to_device"), "transfer"),
    (re.compile(r"run_training_batch|\[Strategy\]\w+\.(validation|test|predict)_step"), "step"),
)


@lru_cache(maxsize=1024)
def part_of_action(action: str) -> Part | None:
    """The part of a batch that an action of Lightning is; ``None`` for all other actions."""
    return next((part for pattern, part in _ACTIONS if pattern.fullmatch(action)), None)


def start_listening(trainer: Trainer, notify: Callable[[str, bool], None]) -> None:
    """Call ``notify(action, begins)`` at the start and the end of each action, inside the profiler's own calls.

    The methods are replaced on the instance, so the profiler keeps the type that the user chose.
    """
    profiler = _profiler(trainer)
    start, stop = profiler.start, profiler.stop

    def start_and_notify(action_name: str) -> None:
        start(action_name)
        notify(action_name, True)

    def notify_and_stop(action_name: str) -> None:
        notify(action_name, False)
        stop(action_name)

    profiler.start, profiler.stop = start_and_notify, notify_and_stop


def stop_listening(trainer: Trainer) -> None:
    """Undo :func:`start_listening`, if it was called."""
    for name in ("start", "stop"):
        vars(_profiler(trainer)).pop(name, None)


def _profiler(trainer: Trainer) -> Profiler:
    return getattr(trainer, "profiler")  # noqa: B009 (Lightning sets this attribute dynamically)
