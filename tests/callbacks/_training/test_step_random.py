import itertools
from unittest.mock import Mock

import torch
from lightning.pytorch import Trainer

from callbacks._training.step_random import step_generator


def draw(seed=0, rank=0, epoch=0, batch=0, user="teacher"):
    trainer = Mock(spec=Trainer, global_rank=rank, current_epoch=epoch, fit_loop=Mock(batch_idx=batch))
    return tuple(torch.rand(3, generator=step_generator(trainer, user, seed)).tolist())


def test_numbers_depend_on_seed_process_epoch_batch_and_user():
    numbers, users = range(3), ("teacher", "source", "noise")
    positions = list(itertools.product(numbers, numbers, numbers, numbers, users))
    drawn = {position: draw(*position) for position in positions}
    assert len(set(drawn.values())) == len(positions)
    assert all(draw(*position) == numbers for position, numbers in drawn.items())


def test_numbers_do_not_depend_on_what_was_drawn_before():
    torch.manual_seed(1)
    first = draw()
    torch.rand(7)
    state = torch.random.get_rng_state()
    assert draw() == first
    assert torch.equal(torch.random.get_rng_state(), state)
