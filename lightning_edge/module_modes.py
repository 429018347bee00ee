"""Training and evaluation mode of the parts of a module."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def restored_modes(module: nn.Module) -> Iterator[None]:
    """Restore the mode of each part of a module after a ``with`` block, whatever happens to it there."""
    modes = {part: part.training for part in module.modules()}
    try:
        yield
    finally:
        for part, is_training in modes.items():
            part.training = is_training
