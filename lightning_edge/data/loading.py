"""Training loaders whose samples are determined by a seed, so that a run can stop at any step and resume.

All randomness is a function of (seed, epoch, index), and of how often the sample occurred before in the epoch. Neither
the number of workers, nor a resume in the middle of an epoch, nor the number of processes changes a sample.
"""

from collections.abc import Callable, Iterator, Sequence, Sized
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int64, UInt64
from torch.utils.data import DataLoader, DistributedSampler
from typing_extensions import override

from lightning_edge.data.seed_mixing import mix_seeds

_ORDER, _SAMPLE, _BATCH = 1, 2, 3  # purposes of a random number, so that equal indices get different numbers


@dataclass(frozen=True, slots=True)
class SampleRequest:
    """A sampler's request for one training sample of a dataset.

    ``seed`` belongs to the sample; ``batch_seed`` is shared by all samples of a batch, on all processes.
    """

    index: int
    seed: int
    batch_seed: int


class SeededSampler(DistributedSampler[SampleRequest]):
    """Shuffles samples, distributes them over processes and seeds them. Incomplete optimizer steps are dropped.

    The global order is cut into batches of ``batch_size * num_replicas`` samples, of which each process takes its
    share. An optimizer step uses ``accumulate`` of these batches. Lightning divides the gradients by that number even
    if fewer batches remain in the epoch, so an incomplete last step would be too small. The class is a
    ``DistributedSampler`` because Lightning does not replace those. Subclasses may override :meth:`order`.

    Args:
        dataset: Dataset to sample. Its ``__getitem__`` receives a :class:`SampleRequest`.
        batch_size: Number of samples in a batch of one process.
        num_replicas: Number of processes.
        rank: Rank of this process.
        seed: Seed of all randomness.
        accumulate: Number of batches of one process whose gradients are accumulated for one optimizer step.
        num_samples: Number of samples in the order of an epoch. If the dataset has fewer, it is shuffled and passed
            through several times. ``None`` means one pass.

    Raises:
        ValueError: The order is too short for one optimizer step.
    """

    def __init__(
        self,
        dataset: Sized,
        batch_size: int,
        num_replicas: int = 1,
        rank: int = 0,
        seed: int = 0,
        accumulate: int = 1,
        num_samples: int | None = None,
    ) -> None:
        super().__init__(dataset, num_replicas, rank, seed=seed)  # pyright: ignore[reportArgumentType]
        self.order_size = len(dataset) if num_samples is None else num_samples
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
        """Indices of all processes in the order of this epoch. Each epoch must have equally many."""
        return passes_through(len(self.dataset), self.order_size, self.random_order()).tolist()  # pyright: ignore[reportArgumentType]

    def random_order(self) -> np.random.Generator:
        """Random numbers for the order of this epoch."""
        (seed,) = self._mix(_ORDER, [0])
        return np.random.default_rng(seed)

    def __iter__(self) -> Iterator[SampleRequest]:
        end = self.start + self.num_left(self.start)
        order = np.array(self.order(), np.int64)
        share = slice(self.start + self.rank, end, self.num_replicas)
        # a sample that occurs again is augmented in another way
        samples = (order + len(self.dataset) * num_occurrences_before(order))[share]  # pyright: ignore[reportArgumentType]
        # a batch is identified by its start, which is valid for any batch size after a resume
        begins = range(self.start, end, self.global_batch_size)
        batch_seeds = self._mix(_BATCH, begins).repeat(self.batch_size)
        yield from map(
            SampleRequest, order[share].tolist(), self._mix(_SAMPLE, samples.tolist()).tolist(), batch_seeds.tolist()
        )

    def __len__(self) -> int:
        return self.num_left(0) // self.num_replicas

    def num_left(self, start: int) -> int:
        """Number of samples of all processes from a position to the end of the last complete step.

        A position may be within a step, of which the first batches are already used. If no batch of the present size
        ends at the position, it comes from another batch size, and steps are counted from there.
        """
        is_between_batches = start % self.global_batch_size == 0
        used = start % self.step_size if is_between_batches else 0
        return max(0, (self.total_size - start + used) // self.step_size * self.step_size - used)

    def _mix(self, purpose: int, values: Sequence[int]) -> UInt64[np.ndarray, " values"]:
        return mix_seeds((self.seed, self.epoch, self.cycle, purpose), values)


class ClassBalancedSampler(SeededSampler):
    """Draws all classes equally often: every class occurs once in each run of as many samples as there are classes.

    Args:
        dataset: See :class:`SeededSampler`.
        labels: Class of each sample of the dataset.
        batch_size: See :class:`SeededSampler`.
        num_replicas: See :class:`SeededSampler`.
        rank: See :class:`SeededSampler`.
        seed: See :class:`SeededSampler`.
        accumulate: See :class:`SeededSampler`.
        num_samples: See :class:`SeededSampler`.

    Raises:
        ValueError: There is not one label for each sample, or the order is too short for one optimizer step.
    """

    def __init__(
        self,
        dataset: Sized,
        labels: Int64[np.ndarray, " samples"],
        batch_size: int,
        num_replicas: int = 1,
        rank: int = 0,
        seed: int = 0,
        accumulate: int = 1,
        num_samples: int | None = None,
    ) -> None:
        if len(labels) != len(dataset):
            raise ValueError(f"expected a label for each of {len(dataset)} samples, got {len(labels)}")
        self.samples_by_class = [np.flatnonzero(labels == label) for label in np.unique(labels)]
        super().__init__(dataset, batch_size, num_replicas, rank, seed, accumulate, num_samples)

    @override
    def order(self) -> list[int]:
        """Indices of all processes in the order of this epoch."""
        draw, num_classes = self.random_order(), len(self.samples_by_class)
        num_rounds = -(-self.order_size // num_classes)
        by_class = [samples[passes_through(len(samples), num_rounds, draw)] for samples in self.samples_by_class]
        rounds = draw.permuted(np.stack(by_class, 1), axis=1)
        return rounds.flatten()[: self.order_size].tolist()


def passes_through(num_items: int, count: int, draw: np.random.Generator) -> Int64[np.ndarray, " count"]:
    """Indices of ``count`` items, in a new random order in each pass through all items."""
    num_passes = -(-count // max(1, num_items))
    passes = [draw.permutation(num_items) for _ in range(num_passes)]
    return np.concatenate([*passes, np.empty(0, np.int64)])[:count]


def num_occurrences_before(order: Int64[np.ndarray, " count"]) -> Int64[np.ndarray, " count"]:
    """How often each item of an order occurred before."""
    places = np.argsort(order, kind="stable")
    is_first = np.diff(order[places], prepend=-1) != 0
    first = np.maximum.accumulate(np.where(is_first, np.arange(len(order)), 0))
    counts = np.empty_like(order)
    counts[places] = np.arange(len(order)) - first
    return counts


class _Position(NamedTuple):
    epoch: int
    cycle: int
    samples: int


class ResumableLoader(DataLoader[Any]):
    """A ``DataLoader`` that counts the used samples, so that a resumed run only gets the remaining ones.

    It takes a :class:`SeededSampler`, its batch size and ``drop_last=True``. The state counts the samples of all
    processes in the batches that the trainer received, not those that workers prefetched. Another pass through the
    loader in the same epoch, as Lightning does with the shorter of two loaders, has a new order (``cycle``).
    """

    # no constructor, because Lightning recreates loaders from the arguments of DataLoader
    num_batches_in_work: Callable[[], int] = staticmethod(lambda: 0)
    """Number of received batches that are not processed yet, for example when a step fails. They are repeated."""
    _position: _Position | None = None
    _is_resumed = False

    def state_dict(self) -> dict[str, int]:
        """Epoch, cycle and the number of used samples of the cycle."""
        position = self._position or _Position(getattr(self.sampler, "epoch", 0), 0, 0)
        if self._position is not None and isinstance(self.sampler, SeededSampler):
            in_work = self.num_batches_in_work() * self.sampler.global_batch_size
            position = position._replace(samples=position.samples - in_work)
        return position._asdict()

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Continue after the samples of a state. The state only affects its own epoch."""
        self._position = _Position(**state_dict)
        self._is_resumed = True

    def __iter__(self) -> Iterator[Any]:  # pyright: ignore[reportIncompatibleMethodOverride]
        # a generator starts at the first batch, which is necessary because Lightning sets the epoch after iter()
        if not isinstance(self.sampler, SeededSampler):  # Trainer(overfit_batches=...) replaces the sampler
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
