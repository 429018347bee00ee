"""Random numbers of a training step, which a resumed run draws again."""

import numpy as np
import torch
from lightning.pytorch import Trainer


def step_generator(trainer: Trainer, seed: int) -> torch.Generator:
    """A generator on the CPU whose numbers depend on the seed, the process, the epoch and the batch only."""
    position = (seed, trainer.global_rank, trainer.current_epoch, trainer.fit_loop.batch_idx)
    (state,) = np.random.SeedSequence(position).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state >> 1))
