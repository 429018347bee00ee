"""Training loaders whose samples follow from a seed, so that a run can stop anywhere and resume.

Everything random is a function of (seed, epoch, index): neither the number of workers, nor a resume in the middle of
an epoch, nor the number of processes changes what a sample looks like.
"""

from collections.abc import Callable, Iterator, Sequence, Sized
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt64
from torch.utils.data import DataLoader, DistributedSampler

from lightning_edge.data.seed_mixing import mix_seeds

_ORDER, _SAMPLE, _BATCH = 1, 2, 3  # what a random number is for, so that equal indices do not share one


@dataclass(frozen=True, slots=True)
class SampleRequest:
    """One training sample as the sampler asks a dataset for it.

    ``seed`` belongs to the sample; ``batch_seed`` is shared by all samples of a batch, on all processes.
    """

    index: int
    seed: int
    batch_seed: int


class SeededSampler(DistributedSampler[SampleRequest]):
    """Shuffles, shards over processes and seeds; steps that would be incomplete are dropped.

    The global order is cut into batches of ``batch_size * num_replicas`` samples, of which each process takes its
    share. An optimizer's step takes ``accumulate`` of them: Lightning divides the gradients by that number also where
    an epoch leaves fewer, which would make its last step a smaller one. It is a ``DistributedSampler`` because
    Lightning leaves those alone. Subclasses may override :meth:`order`.

    Args:
        dataset: What is sampled; its ``__getitem__`` receives a :class:`SampleRequest`.
        batch_size: Samples in a batch of one process.
        num_replicas: Number of processes.
        rank: Which of them this is.
        seed: Of everything random.
        accumulate: Batches of a process whose gradients make one step.

    Raises:
        ValueError: The dataset does not fill one step.
    """

    def __init__(
        self,
        dataset: Sized,
        batch_size: int,
        num_replicas: int = 1,
        rank: int = 0,
        seed: int = 0,
        accumulate: int = 1,
    ) -> None:
        super().__init__(dataset, num_replicas, rank, seed=seed)  # pyright: ignore[reportArgumentType]
        self.batch_size = batch_size
        self.global_batch_size = batch_size * num_replicas
        self.step_size = self.global_batch_size * accumulate
        self.cycle = 0
        self.start = 0
        self.total_size = len(self.order())
        if self.num_left(0) == 0:
            accumulated = " x accumulate_grad_batches" if accumulate > 1 else ""
            raise ValueError(
                f"expected batch_size x processes{accumulated} ({self.step_size}) of at most the number of training "
                f"samples ({self.total_size}): lower batch_size"
            )

    def order(self) -> list[int]:
        """Indices of all processes in the order of this epoch; equally many in each epoch."""
        (seed,) = self._mix(_ORDER, [0])
        return np.random.default_rng(seed).permutation(len(self.dataset)).tolist()  # pyright: ignore[reportArgumentType]

    def __iter__(self) -> Iterator[SampleRequest]:
        end = self.start + self.num_left(self.start)
        indices = self.order()[self.start + self.rank : end : self.num_replicas]
        # a batch is named by where it begins, which holds for any batch size after a resume
        begins = range(self.start, end, self.global_batch_size)
        batch_seeds = self._mix(_BATCH, begins).repeat(self.batch_size)
        yield from map(SampleRequest, indices, self._mix(_SAMPLE, indices).tolist(), batch_seeds.tolist())

    def __len__(self) -> int:
        return self.num_left(0) // self.num_replicas

    def num_left(self, start: int) -> int:
        """Samples of all processes from a position to the end of the last whole step.

        A position may lie within a step, whose first batches have been used; one that no batch of the present size ends
        at comes from another size, and steps begin anew there.
        """
        is_between_batches = start % self.global_batch_size == 0
        used = start % self.step_size if is_between_batches else 0
        return max(0, (self.total_size - start + used) // self.step_size * self.step_size - used)

    def _mix(self, purpose: int, values: Sequence[int]) -> UInt64[np.ndarray, " values"]:
        return mix_seeds((self.seed, self.epoch, self.cycle, purpose), values)


class _Position(NamedTuple):
    epoch: int
    cycle: int
    samples: int


class ResumableLoader(DataLoader[Any]):
    """A ``DataLoader`` that knows which samples were used, so that a resumed run gets the others only.

    Built with a :class:`SeededSampler`, its batch size and ``drop_last=True``. The state counts samples of all
    processes in the batches that the trainer received, not those that workers fetched ahead. Passing through the
    loader again in one epoch, as Lightning does with the shorter of two loaders, gives a new order (``cycle``).
    """

    # no constructor: Lightning rebuilds loaders from the arguments of DataLoader
    num_batches_in_work: Callable[[], int] = staticmethod(lambda: 0)
    """How many of the batches that were handed out are not processed yet, as when a step fails. They come again."""
    _position: _Position | None = None
    _is_resumed = False

    def state_dict(self) -> dict[str, int]:
        """Epoch, cycle and the number of samples used in it."""
        position = self._position or _Position(getattr(self.sampler, "epoch", 0), 0, 0)
        if self._position is not None and isinstance(self.sampler, SeededSampler):
            in_work = self.num_batches_in_work() * self.sampler.global_batch_size
            position = position._replace(samples=position.samples - in_work)
        return position._asdict()

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Continue after the samples of a state; it has no effect on any other epoch than its own."""
        self._position = _Position(**state_dict)
        self._is_resumed = True

    def __iter__(self) -> Iterator[Any]:  # pyright: ignore[reportIncompatibleMethodOverride]
        # being a generator, it begins at the first batch: Lightning sets the epoch after it has called iter()
        if not isinstance(self.sampler, SeededSampler):  # Trainer(overfit_batches=...) puts in its own
            yield from super().__iter__()
            return
        position = self._first_position(self.sampler)
        self.sampler.cycle, self.sampler.start = position.cycle, position.samples
        for batch in super().__iter__():
            position = position._replace(samples=position.samples + self.sampler.global_batch_size)
            self._position = position
            yield batch

    def _first_position(self, sampler: SeededSampler) -> _Position:
        last, is_resumed, self._is_resumed = self._position, self._is_resumed, False
        if last is None or last.epoch != sampler.epoch:
            return _Position(sampler.epoch, 0, 0)
        if is_resumed:
            return last
        is_finished = sampler.num_left(last.samples) == 0
        return _Position(last.epoch, last.cycle + is_finished, 0)
