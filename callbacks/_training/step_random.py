"""Random numbers of a training step, which a resumed run draws again."""

from typing import Any
from zlib import crc32

import numpy as np
import torch
from lightning.pytorch import Trainer

_eager: Any = torch.compiler.disable
"""Neither random numbers of NumPy nor generators can be traced."""


def step_generator(trainer: Trainer, user: str, seed: int) -> torch.Generator:
    """A generator on the CPU whose numbers depend on the arguments, the process, the epoch and the batch only.

    Args:
        trainer: The trainer.
        user: What draws the numbers, such as the ``state_key`` of a callback. Two that have the same seed would
            otherwise draw the same numbers, and change source and target in the same way.
        seed: Seed of the user.
    """
    position = (crc32(user.encode()), seed, trainer.global_rank, trainer.current_epoch, trainer.fit_loop.batch_idx)
    return _eager(_generator)(position) if torch.compiler.is_compiling() else _generator(position)


def _generator(position: tuple[int, ...]) -> torch.Generator:
    (state,) = np.random.SeedSequence(position).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state >> 1))
