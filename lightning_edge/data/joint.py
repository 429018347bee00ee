"""The data of several data modules together, such as several sources of domain adaptation."""

from bisect import bisect_right
from collections.abc import Callable, Sequence, Sized
from dataclasses import replace
from itertools import accumulate
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64
from torch.utils.data import Dataset
from typing_extensions import override

from lightning_edge.data.base import EdgeDataModule, Split
from lightning_edge.data.loading import ClassBalancedSampler, SampleRequest, SeededSampler
from lightning_edge.data.remapped import RemappedDataModule

_SHARED = ("num_classes", "class_names", "ignore_index")
"""Attributes that must be equal in all parts, and are then those of the whole."""
_OF_DOMAINS = ("domain", "domain_embedding")


class JointDataModule(EdgeDataModule):
    """The samples of several data modules with one batch type and the same classes, such as several sources.

    A training batch has samples of all parts in random order. Evaluation passes through the parts one after the other.
    Each part has its own files and transforms. Batches, their order and the seeds of augmentation are those of the
    joint data module, so the batch sizes and seeds of the parts have no effect. Bring parts with other classes to
    common ones by :class:`~lightning_edge.data.remapped.RemappedDataModule` first. Samples keep their domain only if
    all parts name the same domains.

    Args:
        parts: The data modules.
        balance_parts: Whether samples of all parts are drawn equally often in training. An epoch is as long as without
            it, so samples of small parts occur several times, each time with other augmentation.
        batch_size: Number of samples in a training batch of one process.
        eval_batch_size: Number of samples in a validation or test batch; ``batch_size`` if ``None``.
        num_workers: Number of processes that read data, for each data loader.
        seed: Seed of the order of the training samples and of their augmentation.

    Raises:
        ValueError: There are no parts, one occurs twice, they differ in batch type, in classes or in how batches
            are made, or an argument is out of range.
        TypeError: A part is no data module of this library.
    """

    def __init__(
        self,
        parts: Sequence[EdgeDataModule | RemappedDataModule],
        balance_parts: bool = False,
        batch_size: int = 8,
        eval_batch_size: int | None = None,
        num_workers: int = 2,
        seed: int = 0,
    ) -> None:
        super().__init__(batch_size, eval_batch_size, num_workers, seed)
        self.parts = tuple(parts)
        self.balance_parts = balance_parts
        _check_parts(self.parts)
        self.batch_type = self.parts[0].batch_type  # pyright: ignore[reportAttributeAccessIssue]
        self.collate = self.parts[0].collate
        for name in (*_SHARED, "palette"):
            if hasattr(self.parts[0], name):
                setattr(self, name, getattr(self.parts[0], name))

    @property
    def domain_names(self) -> tuple[str, ...] | None:
        """Names of the domains by their index in batches, if all parts name the same ones."""
        first, *others = (getattr(part, "domain_names", None) for part in self.parts)
        return first if all(names == first for names in others) else None

    @property
    def embedding_features(self) -> int:
        """Length of the embedding of a domain, if samples keep their domain."""
        if self.domain_names is None:
            raise AttributeError("samples of parts that name different domains have no embedding of their domain")
        return self.parts[0].embedding_features  # pyright: ignore[reportAttributeAccessIssue]

    @override
    def prepare_data(self) -> None:
        """Prepare all parts, on one process only."""
        for part in self.parts:
            part.prepare_data()

    @override
    def setup(self, stage: str | None = None) -> None:
        """Create the datasets that a stage needs."""
        for part in self.parts:
            part.trainer = self.trainer
            part.setup(stage)
        super().setup(stage)

    @override
    def make_dataset(self, split: Split) -> "JointDataset":
        """The samples of a split of all parts."""
        datasets = [part.dataset(split) for part in self.parts]
        changes = [part.relabel if isinstance(part, RemappedDataModule) else _unchanged for part in self.parts]
        left_out = () if self.domain_names is not None else _OF_DOMAINS
        return JointDataset(datasets, changes, left_out, self.balance_parts)

    @override
    def make_sampler(self, dataset: Dataset[Any], num_replicas: int, rank: int, accumulate: int) -> SeededSampler:
        """Sampler of the train split."""
        if not self.balance_parts:
            return super().make_sampler(dataset, num_replicas, rank, accumulate)
        assert isinstance(dataset, JointDataset)
        groups = dataset.part_of_sample
        return ClassBalancedSampler(dataset, groups, self.batch_size, num_replicas, rank, self.seed, accumulate)

    @override
    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Convert a batch as the parts do; their labels are already mapped."""
        return _plain(self.parts[0]).on_after_batch_transfer(batch, dataloader_idx)


class JointDataset(Dataset[Any], Sized):
    """The samples of several datasets, one after the other.

    Args:
        datasets: Datasets whose items are requested by index or by
            :class:`~lightning_edge.data.loading.SampleRequest`.
        changes: What to do with the samples of each.
        left_out: Keys that samples lose.
        is_balanced: Whether samples of all datasets should be drawn equally often.
    """

    def __init__(
        self,
        datasets: Sequence[Any],
        changes: Sequence[Callable[[Any], Any]],
        left_out: Sequence[str] = (),
        is_balanced: bool = False,
    ) -> None:
        self.datasets = datasets
        self.changes = changes
        self.left_out = left_out
        self.is_balanced = is_balanced
        self.starts = [0, *accumulate(map(len, datasets))]

    def __len__(self) -> int:
        return self.starts[-1]

    def __getitem__(self, item: int | SampleRequest) -> Any:
        return self.__getitems__([item])[0]

    def __getitems__(self, items: Sequence[int | SampleRequest]) -> list[Any]:
        """All items of a batch, which a ``DataLoader`` requests at once."""
        parts = [bisect_right(self.starts, _index(item)) - 1 for item in items]
        samples: list[Any] = [None] * len(items)
        for part in set(parts):
            places = [place for place, own in enumerate(parts) if own == part]
            of_part = self._samples(part, [_moved(items[place], -self.starts[part]) for place in places])
            for place, sample in zip(places, of_part, strict=True):
                samples[place] = sample
        return samples

    @property
    def groups(self) -> Int64[np.ndarray, " samples"] | None:
        """Group of each sample, all of which should be drawn equally often; ``None`` if it does not matter."""
        return self.part_of_sample if self.is_balanced else None

    @property
    def part_of_sample(self) -> Int64[np.ndarray, " samples"]:
        """Number of the dataset of each sample."""
        return np.repeat(np.arange(len(self.datasets)), [len(dataset) for dataset in self.datasets])

    @property
    def labels(self) -> Int64[np.ndarray, " samples"] | None:
        """Class of each sample; ``None`` if a dataset does not know them without reading its samples."""
        of_parts = [getattr(dataset, "labels", None) for dataset in self.datasets]
        if any(labels is None for labels in of_parts):
            return None
        changed = (
            change({"label": torch.as_tensor(labels)})["label"]
            for change, labels in zip(self.changes, of_parts, strict=True)
        )
        return torch.cat(list(changed)).numpy()

    def _samples(self, part: int, items: Sequence[int | SampleRequest]) -> list[Any]:
        dataset, change = self.datasets[part], self.changes[part]
        read = getattr(dataset, "__getitems__", None)
        samples = [dataset[item] for item in items] if read is None else read(items)
        return [self._changed(change(sample), self.starts[part]) for sample in samples]

    def _changed(self, sample: dict[str, Any], start: int) -> dict[str, Any]:
        kept = {key: value for key, value in sample.items() if key not in self.left_out}
        return kept | {"image_id": sample["image_id"] + start} if "image_id" in sample else kept


def _index(item: int | SampleRequest) -> int:
    return item.index if isinstance(item, SampleRequest) else item


def _moved(item: int | SampleRequest, distance: int) -> int | SampleRequest:
    return replace(item, index=item.index + distance) if isinstance(item, SampleRequest) else item + distance


def _unchanged(sample: Any) -> Any:
    return sample


def _plain(part: EdgeDataModule | RemappedDataModule) -> EdgeDataModule:
    return part.data if isinstance(part, RemappedDataModule) else part


def _check_parts(parts: Sequence[Any]) -> None:
    if not parts:
        raise ValueError("expected parts with at least one data module, got none")
    for part in parts:
        if not isinstance(part, EdgeDataModule | RemappedDataModule):
            raise TypeError(f"expected parts as data modules of lightning_edge.data, got {type(part).__name__}")
    if len(set(map(id, parts))) < len(parts):
        raise ValueError("expected parts as different data modules, got the same object twice")
    first, *others = parts
    for other in others:
        for name in ("batch_type", *_SHARED):
            of_first, of_other = (getattr(part, name, None) for part in (first, other))
            if of_first != of_other:
                raise ValueError(
                    f"expected parts with the same {name}, got {of_first} of {type(first).__name__} and {of_other} of "
                    f"{type(other).__name__}: RemappedDataModule brings one to the classes of the other"
                )
        if _ways_of_batches(first) != _ways_of_batches(other):
            raise ValueError(
                "expected parts whose batches are made and converted in the same way, got "
                f"{type(_plain(first)).__name__} and {type(_plain(other)).__name__}, whose collate or "
                "on_after_batch_transfer differ"
            )


def _ways_of_batches(part: EdgeDataModule | RemappedDataModule) -> tuple[Any, Any]:
    data = _plain(part)
    return data.collate, type(data).on_after_batch_transfer
